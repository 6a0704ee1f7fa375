"""The shared cell: the refresher puts a token in, the connect path reads it.

The one mutable thing. A put replaces one reference to an immutable object, which
Python does atomically, so that any thread and any loop may read without a lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ._clock import Clock
from ._life import Life
from ._schedule import clock_jumped
from ._token import Endpoint, Token


@dataclass(slots=True, eq=False)
class Held:
    """What makes a token, as the slot holds it. Nobody changes one that was made.

    It is not frozen all the same, and holds no `Token`: that would take three times as long to
    make, for each, and of thousands that are replaced at once the garbage collector would have
    more to look at.
    """

    endpoint: Endpoint
    password: str
    life: Life

    @property
    def token(self) -> Token:
        """The token, as the public name for it has it; equal each time, but not the same."""
        return Token(
            endpoint=self.endpoint,
            password=self.password,
            minted_at=self.life.minted_at,
            expires_at=self.life.expires_at,
        )


class Slot:
    """Holds the current token of one endpoint, and tells whether it can be used now."""

    __slots__ = ("_before_jump", "_boot", "_last", "_wall", "held")

    def __init__(self, clock: Clock) -> None:
        self._wall = clock.wall
        self._boot = clock.boot
        self._last: Held | None = None
        self._before_jump: Held | None = None
        self.held: Held | None = None

    def put(self, token: Token, life: Life) -> None:
        """Replace what is held by *token*, just minted, whose times are those of *life*."""
        last = self._last
        if last is not None and clock_jumped(
            life.began_at - last.life.began_at, life.began_at_boot - last.life.began_at_boot
        ):
            self._before_jump = last
        self.held = self._last = Held(token.endpoint, token.password, life)

    def accepted(self, password: str) -> None:
        """Note that the server took *password*: if it is what is held now, the clock is right."""
        held = self.held
        if self._before_jump is not None and held is not None and password == held.password:
            self._before_jump = None

    def put_back(self, refused: str) -> Token | None:
        """Hold again what was held before the wall clock jumped, after *refused* was refused.

        If it is the clock that is wrong now, tokens dated by it are good for nothing, and
        the one from before is, until boot time has seen its age.

        Returns:
            It; `None` when there is none, or it is too old, or is what was refused.
        """
        before, self._before_jump = self._before_jump, None
        if before is None or before.password == refused:
            return None
        life = before.life
        if self._boot() >= life.usable_until_boot:
            return None
        jump = (self._wall() - life.began_at) - (self._boot() - life.began_at_boot)
        self._last = before
        self.held = Held(before.endpoint, before.password, _as_of_another_clock(life, ahead=jump))
        return self.held.token

    def read(self) -> str | None:
        """Return the password to send now; `None` when there is none to trust.

        A token is refused as soon as *either* clock calls it old: wall time alone
        would revive a dead one when the clock is set back, and time since minting
        alone would keep one through a suspend if it did not count that.
        """
        held = self.held
        if held is None:
            return None
        life = held.life
        if (
            not life.usable_from <= self._wall() < life.usable_until
            or self._boot() >= life.usable_until_boot
        ):
            return None
        return held.password

    def current(self) -> Token | None:
        """Return the whole token if it can be used now."""
        held = self.held
        return held.token if held is not None and self.read() is not None else None

    def usable_for(self) -> float:
        """Return how many more seconds what is held can be used; 0 when it cannot."""
        held = self.held
        if held is None or (wall := self._wall()) < held.life.usable_from:
            return 0.0
        life = held.life
        return max(0.0, min(life.usable_until - wall, life.usable_until_boot - self._boot()))


def _as_of_another_clock(life: Life, *, ahead: float) -> Life:
    return replace(
        life,
        minted_at=life.minted_at + ahead,
        expires_at=life.expires_at + ahead,
        usable_from=life.usable_from + ahead,
        usable_until=life.usable_until + ahead,
    )
