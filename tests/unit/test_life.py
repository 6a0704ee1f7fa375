"""Tokens share a life only if everything in it is true of each of them."""

from __future__ import annotations

import pytest

from rds_iam_async import Endpoint, RefreshPolicy, Token
from rds_iam_async._life import Lives

from .conftest import ENDPOINT

OTHER = Endpoint(host="other", port=5432, user="app", region="eu-west-1")
AT = 1_800_000_000.0
BOOT = 1000.0


def token(*, minted_at: float = AT, lives: float = 900.0, endpoint: Endpoint = ENDPOINT) -> Token:
    return Token(endpoint=endpoint, password="-", minted_at=minted_at, expires_at=minted_at + lives)


@pytest.fixture
def lives() -> Lives:
    return Lives(RefreshPolicy())


def test_tokens_of_one_key_and_one_second_share_their_times(lives: Lives) -> None:
    """Of whichever endpoint: none of these times depends on that."""
    one = lives.of(token(), access_key_id="KEY", wall=AT + 0.25, boot=BOOT)
    other = lives.of(token(endpoint=OTHER), access_key_id="KEY", wall=AT + 0.75, boot=BOOT + 0.5)
    assert other is one
    assert (one.usable_until, one.usable_until_boot) == (AT + 870, BOOT + 869.75)


@pytest.mark.parametrize(
    ("another", "key", "boot"),
    [
        (token(minted_at=AT + 1, lives=899), "KEY", BOOT + 0.5),  # both end with their key
        (token(lives=600), "KEY", BOOT + 0.5),
        (token(), "OTHER", BOOT + 0.5),
        (token(), "KEY", BOOT + 1.0),  # a clock that was set back to the same second
        (token(), "KEY", BOOT - 1.0),
    ],
    ids=["second", "end", "key", "later", "earlier"],
)
def test_what_differs_in_any_time_or_in_its_key_has_a_life_of_its_own(
    lives: Lives, another: Token, key: str, boot: float
) -> None:
    """Else a token would be used for too long, or called dead when it is made."""
    one = lives.of(token(), access_key_id="KEY", wall=AT, boot=BOOT)
    other = lives.of(another, access_key_id=key, wall=another.minted_at, boot=boot)
    assert other is not one
    assert (other.access_key_id, other.expires_at) == (key, another.expires_at)
    assert other.usable_until_boot == boot + (other.usable_until - another.minted_at)
