"""The nouns: wrong ones cannot exist, and none shows a secret (L4)."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from, text

from rds_iam_async import ConfigurationError, Credentials, Endpoint, Token
from rds_iam_async._token import Secret

GOOD: dict[str, Any] = {"host": "db.test", "port": 5432, "user": "app", "region": "eu-west-1"}
SECRET = "wJalrXUtnFEMI/K7MDENG"


def a_token() -> Token:
    return Token(endpoint=Endpoint(**GOOD), password=SECRET, minted_at=0.0, expires_at=900.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("host", v) for v in ("", None, "a b", "::1", "db:5432", "https://db", "a,b", "x" * 254, "é")]
    + [("port", v) for v in (0, -1, 65536, "5432", 5432.0, True, None)]
    + [("user", v) for v in ("", None, "a\0b", "\ud800")]
    + [("region", v) for v in ("", None, "eu west", "eu-west-1/x", "EU-WEST-1", "-")],
)
def test_an_endpoint_is_checked_when_built(field: str, value: Any) -> None:
    """The message names the part, the hint says what to pass."""
    with pytest.raises(ConfigurationError, match=field) as caught:
        Endpoint(**{**GOOD, field: value})
    assert caught.value.hint


def test_a_host_is_kept_as_it_is_signed() -> None:
    """L1: lower-cased, without a trailing dot; so equal endpoints are equal."""
    assert Endpoint(**{**GOOD, "host": "DB.Test."}) == Endpoint(**GOOD)


@pytest.mark.parametrize("field", ["access_key_id", "secret_access_key", "session_token"])
@pytest.mark.parametrize("value", ["", "two words", "line\n", "é", 5])
def test_keys_are_checked_when_built_and_not_shown(field: str, value: Any) -> None:
    """A key that was read with its line end is found here, not in a refused login."""
    good = {"access_key_id": "AKIA", "secret_access_key": SECRET, "session_token": None}
    with pytest.raises(ConfigurationError, match=field) as caught:
        Credentials(**{**good, field: value})
    assert SECRET not in str(caught.value)
    if value:
        assert str(value) not in str(caught.value)


@pytest.mark.parametrize("end", [float("nan"), float("inf")])
def test_an_expiry_is_an_instant(end: float) -> None:
    """NaN would make every comparison false, and so the keys immortal."""
    with pytest.raises(ConfigurationError, match="expires_at"):
        Credentials(access_key_id="a", secret_access_key="s", expires_at=end)


def test_no_secret_is_shown_by_repr_or_by_a_traceback_with_locals() -> None:
    """L4: everywhere, also in the locals of a traceback."""
    credentials = Credentials(access_key_id="AKIA", secret_access_key=SECRET, session_token=SECRET)
    token = a_token()
    password, secret = token.password, credentials.secret_access_key
    try:
        raise RuntimeError({"password": password, "secret": secret})
    except RuntimeError as error:
        shown = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
    logging.getLogger("test").debug("%r %s", token, [password])
    assert "AKIA" in shown
    assert SECRET not in shown
    assert SECRET not in f"{token} {credentials} {token!r} {credentials!r} {[password]}"


@given(text())
def test_a_secret_is_the_string_that_drivers_need(plain: str) -> None:
    """L4: `encode()` and comparison are the plain string's, whatever `repr` says."""
    secret = Secret(plain)
    assert repr(secret) == "<secret>"
    assert secret == plain
    assert secret.encode(errors="surrogatepass") == plain.encode(errors="surrogatepass")
    assert str(secret) == plain
    assert json.dumps(secret) == json.dumps(plain)


@given(sampled_from([a_token(), Credentials(access_key_id="A", secret_access_key=SECRET)]))
def test_nouns_survive_pickling_with_their_secrets_hidden(noun: Token | Credentials) -> None:
    """Processes hand them on; the copy is as discreet as the original."""
    copy = pickle.loads(pickle.dumps(noun))
    assert copy == noun
    assert SECRET not in repr(copy)
