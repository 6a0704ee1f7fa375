"""Where the time goes of the connection that is the first to be refused, after a revocation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from _contender import Outcome, Poured

STEPS = (
    "refused by the server",
    "AWS asked for keys",
    "keys in hand",
    "token minted",
    "let in by the server",
    "`select 1` answered",
)
Timeline = list[float]
"""Milliseconds since the connection was due, for each of `STEPS`."""


def of_the_first_refused(
    one: Poured,
    logins: Sequence[tuple[float, str]],
    calls: Sequence[float],
    *,
    to_monotonic: float,
) -> Timeline | None:
    """Return the steps of the connection that waited longest; `None` when one is not known.

    Args:
        one: What became of the contender's connections.
        logins: When the gate decided, in Unix seconds, and how.
        calls: When AWS was asked, likewise.
        to_monotonic: What makes monotonic time of Unix time, by addition.
    """
    slowest = max(one.outcomes, key=lambda outcome: outcome.took)
    refused = [at + to_monotonic for at, outcome in logins if outcome == "denied"]
    accepted = [at + to_monotonic for at, outcome in logins if outcome == "accepted"]
    asked = [at + to_monotonic for at in calls]
    told = one.events
    after = slowest.due
    steps: Timeline = []
    for instants in (refused, asked, _of(told, "CredentialsResolved"), _of(told, "TokenMinted")):
        later = [at for at in instants if after <= at <= _end(slowest)]
        if not later:
            return None
        after = min(later)
        steps.append(after - slowest.due)
    later = [at for at in accepted if after <= at <= _end(slowest)]
    if not later:
        return None
    steps += [max(later) - slowest.due, slowest.took]
    return [1000 * step for step in steps]


def typical(timelines: Sequence[Timeline]) -> dict[str, float]:
    """Return the median of each step."""
    of_step = zip(*timelines, strict=True)
    return {
        name: round(statistics.median(values), 2)
        for name, values in zip(STEPS, of_step, strict=False)
    }


def _of(events: Sequence[tuple[str, float]], kind: str) -> list[float]:
    return [at for what, at in events if what == kind]


def _end(outcome: Outcome) -> float:
    return outcome.due + outcome.took
