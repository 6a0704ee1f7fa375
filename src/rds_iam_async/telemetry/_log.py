"""The listener that logs, and leaves repeats out: an outage of an hour is tens of lines."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable

from ._events import Event, RefresherRestarted
from ._logger import logger
from ._observer import Observer
from ._repeats import Repeats
from ._trouble import ended_by, trouble
from ._watching import Watched
from ._wording import line


class _LogEvents:
    """Log each event under the name `rds_iam_async`; given as `observe=`, leave repeats out.

    Trouble is a WARNING, a bug of ours an ERROR with its traceback, the rest INFO or DEBUG.
    As `observe=` (also through `all_of`) each refresher has a memory of its own: the first
    of a trouble is logged at once, its repeats ever further apart (30 s, doubling to
    15 min), and its end, with how long it took and how many lines were left out. What is
    left out is logged as DEBUG. Called by an observer of your own it logs every event.
    """

    def __call__(self, event: Event) -> None:
        _write(event)

    def for_refresher(self, watched: Watched) -> Observer:
        """Return an observer with a memory of its own."""
        return _WithoutRepeats(watched.boot)

    def __repr__(self) -> str:
        return "log_events"


log_events: Observer = _LogEvents()


class _WithoutRepeats:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._kinds: defaultdict[str, Repeats] = defaultdict(Repeats)

    def __call__(self, event: Event) -> None:
        now = self._now()
        for kind, who, what in ended_by(event):
            if (end := self._kinds[kind].end(who, now)) is not None:
                # As loud as its beginning: who was woken by that looks for this.
                how = "%s after %d failures in %.0f s, of which %d were not logged"
                logger.warning(how, what, end.count, end.lasted, end.hidden)
        if (found := trouble(event)) is None:
            _write(event)
            return
        kind, who = found
        left_out = self._kinds[kind].again(who, now)
        if left_out is None:
            _write(event, quietly=True)
        else:
            _write(event, f" ({left_out} more like it were not logged)" if left_out else "")


def _write(event: Event, suffix: str = "", *, quietly: bool = False) -> None:
    level, text, values = line(event)
    error = event.error if isinstance(event, RefresherRestarted) and not quietly else None
    logger.log(logging.DEBUG if quietly else level, text + suffix, *values, exc_info=error)
