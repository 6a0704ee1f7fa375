"""What several rounds of one contender in one scenario come to."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from _interval import intervals, ratios
from _percentiles import PERCENTILES, Figures, Round, nearest

COMPARED = ("p50", "p99")
"""The percentiles that have targets, and whose ratios are given with an interval."""
SHOWN = 3
"""Digits of an interval's ends: it is judged as it is shown, so that no verdict contradicts it."""


def summary(rounds: Sequence[Round]) -> dict[str, object]:
    """Return percentiles over all connections of *rounds*; failures are added up.

    Ratios compare as many connections of both in each round, in turn: a round, or a while,
    in which the machine was slow falls on both. CPU is the rounds' median.
    """
    errors: Counter[str] = Counter()
    for one in rounds:
        errors.update(one.errors)
    pairs = [one.pairs for one in rounds]
    shares = list(PERCENTILES.values())
    compared = [PERCENTILES[name] for name in COMPARED]
    return {
        "rounds": len(rounds),
        "connects": sum(one.one.connects for one in rounds),
        "failed": sum(one.one.failed for one in rounds),
        "control_failed": sum(one.control.failed for one in rounds),
        "errors": dict(errors.most_common(3)),
        "recovered_after": max(one.recovered_after for one in rounds),
        "ms": _percentiles(took for of_round in pairs for pair in of_round for took in pair[0]),
        "control_ms": _percentiles(
            took for of_round in pairs for pair in of_round for took in pair[1]
        ),
        "ratio": dict(zip(PERCENTILES, map(_rounded, ratios(pairs, shares)), strict=True)),
        "within": {
            name: None if interval is None else [round(end, SHOWN) for end in interval]
            for name, interval in zip(COMPARED, intervals(pairs, compared), strict=True)
        },
        "cpu_ms": _median(one.one.cpu_ms for one in rounds),
        "cpu_ratio": _median(one.one.cpu_ms / one.control.cpu_ms for one in rounds),
        "each": [{"one": _known(one.one), "control": _known(one.control)} for one in rounds],
    }


def _percentiles(took: Iterable[float]) -> dict[str, float | None]:
    ordered = sorted(took)
    return {
        name: _rounded(nearest(ordered, share)) if ordered else None
        for name, share in PERCENTILES.items()
    }


def _median(values: Iterable[float]) -> float | None:
    return _rounded(statistics.median(values))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _known(figures: Figures) -> dict[str, object]:
    """Return them for JSON, which has no NaN."""
    ms = {name: None if math.isnan(value) else value for name, value in figures.ms.items()}
    return asdict(figures) | {"ms": ms}
