"""The shared cell: the refresher puts a token in, the connect path reads it.

The one mutable thing. A put replaces one reference to an immutable object, which
Python does atomically, so that any thread and any loop may read without a lock.
"""

from __future__ import annotations

from dataclasses import dataclass

from ._clock import Clock
from ._schedule import FULL_LIFE
from ._token import Token

FUTURE_TOLERANCE = 300.0
"""A token dated further ahead was minted by a clock that has since been set back.
AWS tolerates five minutes: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A token as the slot holds it: the bounds of its use, on both clocks."""

    token: Token
    access_key_id: str
    usable_from: float
    usable_until: float
    usable_until_boot: float


class Slot:
    """Holds the current token of one endpoint, and tells whether it can be used now."""

    __slots__ = ("_boot", "_wall", "held")

    def __init__(self, clock: Clock) -> None:
        self._wall = clock.wall
        self._boot = clock.boot
        self.held: Held | None = None

    def put(self, token: Token, *, usable_until: float, access_key_id: str) -> None:
        """Replace what is held by *token*, just minted.

        Args:
            token: The new one.
            usable_until: Its last use, in Unix seconds.
            access_key_id: Who signed it.
        """
        left = usable_until - self._wall()
        self.held = Held(
            token=token,
            access_key_id=access_key_id,
            usable_from=token.minted_at - FUTURE_TOLERANCE,
            usable_until=usable_until,
            usable_until_boot=self._boot() + min(left, FULL_LIFE),
        )

    def read(self) -> str | None:
        """Return the password to send now; `None` when there is none to trust.

        A token is refused as soon as *either* clock calls it old: wall time alone
        would revive a dead one when the clock is set back, and time since minting
        alone would keep one through a suspend if it did not count that.
        """
        held = self.held
        if (
            held is None
            or not held.usable_from <= self._wall() < held.usable_until
            or self._boot() >= held.usable_until_boot
        ):
            return None
        return held.token.password

    def current(self) -> Token | None:
        """Return the whole token if it can be used now."""
        held = self.held
        return held.token if held is not None and self.read() is not None else None

    def usable_for(self) -> float:
        """Return how many more seconds what is held can be used; 0 when it cannot."""
        held = self.held
        if held is None or self.read() is None:
            return 0.0
        wall_left = held.usable_until - self._wall()
        return max(0.0, min(wall_left, held.usable_until_boot - self._boot()))
