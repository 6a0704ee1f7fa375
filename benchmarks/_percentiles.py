"""From outcomes to figures: percentiles, and how they compare with a static password's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from _contender import Outcome, Poured

Pair = tuple[Sequence[float], Sequence[float]]
"""What the contender's connections and the static password's took in the same while, in ms.

Failures are left out.
"""

PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of *values* that *share* percent of them do not exceed."""
    return nearest(sorted(values), share)


def nearest(ordered: Sequence[float], share: float) -> float:
    """Return the same of values that are in order already."""
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What became of a number of connections.

    Attributes:
        connects: How many were wanted.
        failed: How many came to nothing.
        ms: Percentiles of how long the others took, in milliseconds; NaN without any.
        cpu_ms: CPU that the process spent on each, in milliseconds.
    """

    connects: int
    failed: int
    ms: dict[str, float]
    cpu_ms: float


@dataclass(frozen=True, kw_only=True)
class Round:
    """One contender and one static password, in turn.

    Attributes:
        one: The contender's.
        control: The static password's.
        pairs: What became of both in each while.
        errors: The contender's failures, and how often each came.
        recovered_after: Seconds until its last failure was over.
    """

    one: Figures
    control: Figures
    pairs: Sequence[Pair]
    errors: dict[str, int] = field(default_factory=dict[str, int])
    recovered_after: float = 0.0


def figures(poured: Poured) -> Figures:
    """Return what became of the connections of one order."""
    outcomes = poured.outcomes
    took = _ms(outcomes)
    return Figures(
        connects=len(outcomes),
        failed=len(outcomes) - len(took),
        ms={
            name: percentile(took, share) if took else math.nan
            for name, share in PERCENTILES.items()
        },
        cpu_ms=1000 * poured.cpu / len(outcomes),
    )


def compared(one: Poured, control: Poured, *, turn: int = 1) -> Round:
    """Return what became of both, and of the contender's failures.

    Args:
        one: The contender's.
        control: The static password's.
        turn: How many connections are one observation: a burst of them, or a second.
    """
    failures = [outcome for outcome in one.outcomes if outcome.error is not None]
    return Round(
        one=figures(one),
        control=figures(control),
        pairs=[
            (_ms(one.outcomes[at : at + turn]), _ms(control.outcomes[at : at + turn]))
            for at in range(0, len(one.outcomes), turn)
        ],
        errors=dict(Counter(str(outcome.error) for outcome in failures).most_common(3)),
        recovered_after=failures[-1].due - one.outcomes[0].due if failures else 0.0,
    )


def _ms(outcomes: Sequence[Outcome]) -> list[float]:
    return [1000 * outcome.took for outcome in outcomes if outcome.error is None]
