"""How late an application's loop is while a contender renews its AWS keys, and connects.

Each contender connects four times a second, with keys so short-lived that it has to renew
them all the time: who signs for each connection does so each time, who caches tokens when
the time-out is over, ours in the background. For each renewal the worst lateness of a 1 ms
ticker counts, in the quarter of a second around it. There is a connection in it, too: what
that costs by itself is shown by the static password.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from _contender import BrokenError, Contender, Poured, Running, soon
from _other_process import Elsewhere
from _pairing import evenly
from _scenarios import environment

EVERY = 0.25
LIFETIME, SCALE = 3.0, 300.0
"""Keys that botocore, with its windows shortened to this scale, renews for each signature."""
BEFORE, AFTER = 0.1, 0.15
"""Seconds around a call of AWS in which the loop is watched."""


def stalls(one: Contender, provider: str, elsewhere: Elsewhere, seconds: float) -> list[float]:
    """Return the worst lateness in each renewal, in milliseconds.

    Raises:
        BrokenError: When the contender does not connect at all.
    """
    elsewhere.set(lifetime=LIFETIME)
    around = environment(elsewhere, provider, SCALE)
    with Running(one, around) as running:
        running.ready()
        elsewhere.set(lifetime=LIFETIME)  # forget the calls so far
        to_wall = time.time() - time.monotonic()
        at = evenly(begin=soon(), every=EVERY, count=round(seconds / EVERY))
        running.order(at, watch=True)
        poured = running.obeyed()
    if failed := [outcome.error for outcome in poured.outcomes if outcome.error]:
        raise BrokenError(failed[0])
    calls = elsewhere.calls() or [outcome.due + to_wall for outcome in poured.outcomes]
    return worst_of_each(renewals(calls), poured)


def renewals(calls: Iterable[float]) -> list[tuple[float, float]]:
    """Return when to watch: calls that follow each other closely are one renewal."""
    windows: list[tuple[float, float]] = []
    for at in sorted(calls):
        if windows and at - BEFORE < windows[-1][1] - AFTER:
            windows[-1] = (windows[-1][0], at + AFTER)
        else:
            windows.append((at - BEFORE, at + AFTER))
    return windows


def worst_of_each(windows: Sequence[tuple[float, float]], poured: Poured) -> list[float]:
    """Return the worst lateness in each window, in milliseconds; 0 where no tick was late."""
    return [
        1000 * max((by for at, by in poured.late if begin <= at <= end + by), default=0.0)
        for begin, end in windows
    ]
