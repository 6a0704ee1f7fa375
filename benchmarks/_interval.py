"""How far a ratio of percentiles can be trusted: what chance alone makes of it.

A bootstrap in two steps: rounds are drawn, as often as there are, and in each drawn round
whiles of a second or a burst, as often as there are, so that what a process was lucky in and
what the machine did meanwhile both show. Connections 40 ms apart share the machine, so they
are not drawn one by one. With one round only the latter shows.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from _percentiles import Pair, nearest

Interval = tuple[float, float]

DRAWS = 400
CONFIDENCE = 95.0
"""Percent of the draws that lie within the interval."""


def ratios(rounds: Sequence[Sequence[Pair]], shares: Sequence[float]) -> list[float | None]:
    """Return how the percentiles of all pairs compare; `None` when one side has none."""
    one = sorted(took for pairs in rounds for pair in pairs for took in pair[0])
    control = sorted(took for pairs in rounds for pair in pairs for took in pair[1])
    if not one or not control:
        return [None for _ in shares]
    return [nearest(one, share) / nearest(control, share) for share in shares]


def intervals(
    rounds: Sequence[Sequence[Pair]], shares: Sequence[float], *, seed: int = 0
) -> list[Interval | None]:
    """Return for each percentile between what the ratio lies, with 95 % of confidence.

    Args:
        rounds: The pairs of each.
        shares: The percentiles.
        seed: Of the draws, so that the same measurements give the same interval.
    """
    chance = random.Random(seed)
    draws = [
        ratios(
            [
                chance.choices(pairs, k=len(pairs))
                for pairs in chance.choices(rounds, k=len(rounds))
            ],
            shares,
        )
        for _ in range(DRAWS)
    ]
    outside = (100 - CONFIDENCE) / 2
    found: list[Interval | None] = []
    for drawn in zip(*draws, strict=True):
        values = sorted(value for value in drawn if value is not None)
        found.append((nearest(values, outside), nearest(values, 100 - outside)) if values else None)
    return found


def verdict(interval: Interval | None, target: float, *, failed: int) -> str:
    """Say whether a target is met, if the measurement can tell.

    Args:
        interval: Between what the ratio lies; `None` when nobody connected.
        target: Of the ratio.
        failed: How many connections came to nothing, whoever's fault that was: with one the
            target is missed.
    """
    if failed or interval is None or interval[0] > target:
        return "missed"
    return "met" if interval[1] <= target else "not told apart from the noise"
