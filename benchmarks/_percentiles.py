"""From outcomes to figures: percentiles, and how they compare with a static password's."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from _contender import Poured

PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of *values* that *share* percent of them do not exceed."""
    ordered = sorted(values)
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
        errors: The contender's failures, and how often each came.
        recovered_after: Seconds until its last failure was over.
    """

    one: Figures
    control: Figures
    errors: dict[str, int] = field(default_factory=dict[str, int])
    recovered_after: float = 0.0


def figures(poured: Poured) -> Figures:
    """Return what became of the connections of one order."""
    outcomes = poured.outcomes
    took = [1000 * outcome.took for outcome in outcomes if outcome.error is None]
    return Figures(
        connects=len(outcomes),
        failed=len(outcomes) - len(took),
        ms={
            name: percentile(took, share) if took else math.nan
            for name, share in PERCENTILES.items()
        },
        cpu_ms=1000 * poured.cpu / len(outcomes),
    )


def compared(one: Poured, control: Poured) -> Round:
    """Return what became of both, and of the contender's failures."""
    failures = [outcome for outcome in one.outcomes if outcome.error is not None]
    return Round(
        one=figures(one),
        control=figures(control),
        errors=dict(Counter(str(outcome.error) for outcome in failures).most_common(3)),
        recovered_after=failures[-1].due - one.outcomes[0].due if failures else 0.0,
    )


def summary(rounds: Sequence[Round]) -> dict[str, object]:
    """Return the medians of *rounds*, of their ratios too; failures are added up.

    A ratio compares percentiles of the same round, as the machine differs between rounds.
    """
    errors: Counter[str] = Counter()
    for one in rounds:
        errors.update(one.errors)
    return {
        "rounds": len(rounds),
        "connects": sum(one.one.connects for one in rounds),
        "failed": sum(one.one.failed for one in rounds),
        "control_failed": sum(one.control.failed for one in rounds),
        "errors": dict(errors.most_common(3)),
        "recovered_after": max(one.recovered_after for one in rounds),
        "ms": {name: _median(one.one.ms[name] for one in rounds) for name in PERCENTILES},
        "control_ms": {
            name: _median(one.control.ms[name] for one in rounds) for name in PERCENTILES
        },
        "ratio": {
            name: _median(one.one.ms[name] / one.control.ms[name] for one in rounds)
            for name in PERCENTILES
        },
        "cpu_ms": _median(one.one.cpu_ms for one in rounds),
        "cpu_ratio": _median(one.one.cpu_ms / one.control.cpu_ms for one in rounds),
        "each": [asdict(one) for one in rounds],
    }


def _median(values: Iterable[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return round(statistics.median(known), 4) if known else None
