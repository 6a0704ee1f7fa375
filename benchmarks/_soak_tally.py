"""What became of the uses of the database, by the fault that they fell into."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from _soak_faults import Fault, Kind

QUIET = Kind(name="all is well", lever="")
BUSY = Kind(name="the machine is busy", lever="", may_wait=True, may_be_refused=True)
BUSIER = Kind(
    name="the machine is so busy that looks take too long",
    lever="",
    may_fail=True,
    may_wait=True,
    may_be_refused=True,
)
"""Like a credential endpoint that is slow while a session is revoked: two faults at once."""

_ERRORS_KEPT = 3


@dataclass(slots=True)
class Use:
    """One connect, or one query through the pool. Times are of the monotonic clock.

    Attributes:
        began: When it was asked for.
        ended: When it had succeeded or failed.
        waited: It found no token and waited for one.
        refused: The server refused a token of its.
        stale: It got one that was past its use when it began.
        error: Why it failed; "" when it did not.
    """

    began: float
    ended: float = math.inf
    waited: bool = False
    refused: bool = False
    stale: bool = False
    error: str = ""


@dataclass(slots=True)
class Row:
    """What happened while one kind of fault could be felt.

    Attributes:
        kind: Which.
        faults: How many there were.
        uses: How many overlapped one of them, or its echo.
        failures: How many of these failed.
        waits: How many waited for a token.
        refusals: How many had a token refused.
        stale: How many of these got it past its use.
        felt_for: The longest time after the end of a fault at which a use began that failed.
        errors: Some of the reasons.
    """

    kind: Kind
    faults: int = 0
    uses: int = 0
    failures: int = 0
    waits: int = 0
    refusals: int = 0
    stale: int = 0
    felt_for: float = 0.0
    errors: list[str] = field(default_factory=list)

    def add(self, use: Use) -> None:
        """Count *use*."""
        self.uses += 1
        self.waits += use.waited
        self.refusals += use.refused
        self.stale += use.stale
        if use.error:
            self.failures += 1
            if use.error not in self.errors and len(self.errors) < _ERRORS_KEPT:
                self.errors.append(use.error)

    @property
    def unwarranted(self) -> int:
        """How many failed though none may."""
        return 0 if self.kind.may_fail else self.failures

    def broken(self) -> list[str]:
        """Say which claims do not hold here."""
        kind = self.kind
        found = [
            (self.unwarranted, "failed: " + "; ".join(self.errors)),
            (0 if kind.may_wait else self.waits, "found no token and waited for one"),
            (0 if kind.may_be_refused else self.refusals, "had a token refused"),
            (self.stale, "got a token that was past its use"),
        ]
        return [f"{kind.name}: {count} of {self.uses} {what}" for count, what in found if count]


@dataclass(slots=True)
class _Window:
    row: Row
    began: float
    fault_ended: float = math.inf
    ended: float = math.inf


class Tally:
    """One row for each kind of fault. What it holds does not grow with time."""

    def __init__(self) -> None:
        self._rows = {QUIET.name: Row(QUIET)}
        self._windows: deque[_Window] = deque(maxlen=3)
        self._busy: _Window | None = None

    @property
    def rows(self) -> list[Row]:
        """The rows, that without a fault first."""
        return list(self._rows.values())

    def fault_begins(self, fault: Fault, now: float) -> None:
        """Open a window: the uses that overlap it are the fault's."""
        row = self._rows.setdefault(fault.kind.name, Row(fault.kind))
        row.faults += 1
        self._windows.append(_Window(row, now))

    def fault_ends(self, now: float) -> None:
        """Let the window close when the echo is over."""
        window = self._windows[-1]
        window.fault_ended = now
        window.ended = now + window.row.kind.echo

    def machine_stalled(self, since: float, now: float) -> None:
        """Note that nothing ran for so long: tokens have died that nobody could replace."""
        self._note_busy(BUSY, since, now)

    def look_was_slow(self, since: float, now: float) -> None:
        """Note a look that took longer than a replacement waits for, unless that was the fault."""
        if not any(w.row.kind.before_look and since <= w.ended for w in self._windows):
            self._note_busy(BUSIER, since, now)

    def _note_busy(self, kind: Kind, since: float, now: float) -> None:
        row = self._rows.setdefault(kind.name, Row(kind))
        row.faults += 1
        self._busy = _Window(row, since, now, now + kind.echo)

    def add(self, use: Use) -> None:
        """Count a use that has ended."""
        window = self._window_of(use)
        if window is None:
            self._rows[QUIET.name].add(use)
            return
        window.row.add(use)
        if use.error:
            window.row.felt_for = max(window.row.felt_for, use.began - window.fault_ended)

    def _window_of(self, use: Use) -> _Window | None:
        known = [*self._windows, *([self._busy] if self._busy else [])]
        over = [w for w in known if w.began <= use.ended and use.began <= w.ended]
        # A use that began in an outage may end in the window of the fault after it.
        return min(over, key=_strictness, default=None)


def _strictness(window: _Window) -> tuple[bool, bool]:
    return not window.row.kind.may_fail, not window.row.kind.may_wait
