"""The shared cell: the refresher puts a token in, the connect path reads it.

The one mutable thing. A put replaces one reference to an immutable object, which
Python does atomically, so that any thread and any loop may read without a lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ._clock import Clock
from ._schedule import FULL_LIFE, clock_jumped
from ._token import Token

FUTURE_TOLERANCE = 300.0
"""A token dated further ahead was minted by a clock that has since been set back.
AWS tolerates five minutes: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html"""


@dataclass(slots=True, kw_only=True, eq=False)
class Held:
    """A token as the slot holds it: when it was put, and the bounds of its use, on both clocks.

    Nobody changes one that was made. It is not frozen all the same: that would make it in
    three times the time, for each token.
    """

    token: Token
    access_key_id: str
    put_at: float
    put_at_boot: float
    usable_from: float
    usable_until: float
    usable_until_boot: float


class Slot:
    """Holds the current token of one endpoint, and tells whether it can be used now."""

    __slots__ = ("_before_jump", "_boot", "_last", "_wall", "held")

    def __init__(self, clock: Clock) -> None:
        self._wall = clock.wall
        self._boot = clock.boot
        self._last: Held | None = None
        self._before_jump: Held | None = None
        self.held: Held | None = None

    def put(self, token: Token, *, usable_until: float, access_key_id: str) -> None:
        """Replace what is held by *token*, just minted.

        Args:
            token: The new one.
            usable_until: Its last use, in Unix seconds.
            access_key_id: Who signed it.
        """
        wall, boot = self._wall(), self._boot()
        last = self._last
        if last is not None and clock_jumped(wall - last.put_at, boot - last.put_at_boot):
            self._before_jump = last
        self.held = self._last = Held(
            token=token,
            access_key_id=access_key_id,
            put_at=wall,
            put_at_boot=boot,
            usable_from=token.minted_at - FUTURE_TOLERANCE,
            usable_until=usable_until,
            usable_until_boot=boot + min(usable_until - wall, FULL_LIFE),
        )

    def accepted(self, password: str) -> None:
        """Note that the server took *password*: if it is what is held now, the clock is right."""
        held = self.held
        if self._before_jump is not None and held is not None and password == held.token.password:
            self._before_jump = None

    def put_back(self, refused: str) -> Token | None:
        """Hold again what was held before the wall clock jumped, after *refused* was refused.

        If it is the clock that is wrong now, tokens dated by it are good for nothing, and
        the one from before is, until boot time has seen its age.

        Returns:
            It; `None` when there is none, or it is too old, or is what was refused.
        """
        before, self._before_jump = self._before_jump, None
        if (
            before is None
            or before.token.password == refused
            or self._boot() >= before.usable_until_boot
        ):
            return None
        jump = (self._wall() - before.put_at) - (self._boot() - before.put_at_boot)
        self._last = before
        self.held = _as_of_another_clock(before, jump)
        return self.held.token

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


def _as_of_another_clock(held: Held, ahead: float) -> Held:
    token = held.token
    return replace(
        held,
        token=replace(
            token, minted_at=token.minted_at + ahead, expires_at=token.expires_at + ahead
        ),
        usable_from=held.usable_from + ahead,
        usable_until=held.usable_until + ahead,
    )
