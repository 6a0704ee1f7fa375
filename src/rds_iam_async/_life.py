"""What tokens have in common that one key signed within one second: all of their times."""

from __future__ import annotations

from dataclasses import dataclass

from ._schedule import FULL_LIFE, RefreshPolicy, Window, successor_window, usable_until
from ._token import Token

FUTURE_TOLERANCE = 300.0
"""A token dated further ahead was minted by a clock that has since been set back.
AWS tolerates five minutes: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html"""

_SAME = 1.0
"""Seconds on a clock that never jumps within which two tokens of one date are of one life."""


@dataclass(slots=True, kw_only=True, eq=False)
class Life:
    """When tokens were made, and the bounds of their use, on both clocks.

    Nobody changes one that was made. Thousands of tokens that are minted together share one:
    each of its own would be seven numbers more to make, to keep, and for the garbage
    collector to look at.

    Attributes:
        access_key_id: Who signed them; the public half of the key.
        minted_at: The date that they carry, in Unix seconds.
        expires_at: The first instant at which they are not used any more.
        began_at: When the first of them was made, not cut to the second.
        began_at_boot: The same instant in seconds since boot, suspend included.
        usable_from: Before that they would come from the future.
        usable_until: Their last use, in Unix seconds.
        usable_until_boot: The same in seconds since boot.
        successor: When their successors are due.
    """

    access_key_id: str
    minted_at: float
    expires_at: float
    began_at: float
    began_at_boot: float
    usable_from: float
    usable_until: float
    usable_until_boot: float
    successor: Window


def life_of(
    token: Token, policy: RefreshPolicy, *, access_key_id: str, wall: float, boot: float
) -> Life:
    """Return the life of *token*, which was made at *wall*, which was *boot* since boot."""
    last_use = usable_until(token, policy)
    return Life(
        access_key_id=access_key_id,
        minted_at=token.minted_at,
        expires_at=token.expires_at,
        began_at=wall,
        began_at_boot=boot,
        usable_from=token.minted_at - FUTURE_TOLERANCE,
        usable_until=last_use,
        usable_until_boot=boot + min(last_use - wall, FULL_LIFE),
        successor=successor_window(token, policy),
    )


class Lives:
    """Hands out the same life for as long as the next token has it, too; from any thread."""

    def __init__(self, policy: RefreshPolicy) -> None:
        self._policy = policy
        self._last: Life | None = None

    def of(self, token: Token, *, access_key_id: str, wall: float, boot: float) -> Life:
        """Return the life of *token*, made just now; arguments as for `life_of`."""
        last = self._last
        if (
            last is not None
            and last.minted_at == token.minted_at
            and last.expires_at == token.expires_at
            and last.access_key_id == access_key_id
            and 0.0 <= boot - last.began_at_boot < _SAME
        ):
            return last
        self._last = last = life_of(
            token, self._policy, access_key_id=access_key_id, wall=wall, boot=boot
        )
        return last
