"""Which repeats of one trouble to tell: the first at once, the others ever further apart.

Plain arithmetic of the times it is given. Of many in trouble at once a few are told of one
by one, and the rest together: a thousand endpoints without keys are one outage.
Called from several threads at once it may miscount a repeat, and never fails.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 900.0
"""Between two lines on the same trouble: 30 s, doubling to 15 min; eight lines in an hour."""

QUIET = 120.0
"""Trouble that stayed away for this long is told at once when it is back; before, it flaps.

Doubling, too, with each time that it came back, up to `LONGEST_PAUSE`: what comes back every
three minutes flaps as well.
"""

APART = 3
"""How many in trouble are told of one by one."""


@dataclass(slots=True, eq=False)
class _Run:
    began: float
    last_at: float
    next_at: float
    pause: float = FIRST_PAUSE
    quiet: float = QUIET
    count: int = 0
    hidden: int = 0
    left_out: int = 0
    told: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a trouble came to.

    Attributes:
        count: How often it was met.
        hidden: How many of these were not told.
        lasted: From the first to the end, in seconds.
    """

    count: int
    hidden: int
    lasted: float


class Repeats:
    """Remembers one kind of trouble, for whoever is in it."""

    def __init__(self) -> None:
        self._apart: dict[Hashable, _Run] = {}
        self._together: _Run | None = None
        self._others: set[Hashable] = set()

    def again(self, who: Hashable, now: float) -> int | None:
        """Note that *who* is in trouble (still, or again).

        Args:
            who: Whoever has it.
            now: Seconds, of a clock that does not jump.

        Returns:
            How many like it were left out since the last one told, if this one is to be
            told; `None` if it is to be left out, too.
        """
        run = self._run(who, now)
        away, run.last_at = now - run.last_at, now
        if run.over:
            run.over, run.began, run.count, run.hidden = False, now, 0, 0
        if away >= run.quiet:
            run.pause, run.next_at = FIRST_PAUSE, now
            run.quiet = QUIET if away >= LONGEST_PAUSE else min(2 * run.quiet, LONGEST_PAUSE)
        run.count += 1
        if now < run.next_at:
            run.hidden += 1
            run.left_out += 1
            return None
        left_out, run.left_out, run.told = run.left_out, 0, True
        run.next_at = now + run.pause
        run.pause = min(2 * run.pause, LONGEST_PAUSE)
        return left_out

    def end(self, who: Hashable, now: float) -> Ended | None:
        """Note that *who* is out of trouble; return what there is to tell, if anything is."""
        run = self._apart.get(who)
        if run is None and who in self._others:
            self._others.discard(who)
            run = None if self._others else self._together
        if run is None or run.over:
            return None
        run.over, run.last_at = True, now
        told, run.told = run.told, False
        ended = Ended(count=run.count, hidden=run.hidden, lasted=now - run.began)
        return ended if told else None

    def _run(self, who: Hashable, now: float) -> _Run:
        if who in self._apart:
            return self._apart[who]
        if who not in self._others:
            for other, run in list(self._apart.items()):
                if now - run.last_at >= (run.quiet if run.over else LONGEST_PAUSE):
                    self._apart.pop(other, None)  # gone for good, perhaps detached
            if len(self._apart) < APART:
                return self._apart.setdefault(who, _Run(now, now, now))
        together = self._together
        if together is None or now - together.last_at >= LONGEST_PAUSE:
            self._others.clear()
            together = self._together = _Run(now, now, now)
        self._others.add(who)
        return together
