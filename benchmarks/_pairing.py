"""Who connects when, so that neither of two that connect in turn has the better turns.

What a connection leaves behind (a backend that goes away, a cache that is warm) falls on the
next one. So of each two pairs one begins with the contender and one with the static password,
in random order: each comes as often after itself as after the other.
"""

from __future__ import annotations

import random

Instants = tuple[list[float], list[float]]
"""Of the contender's connections, and of the static password's."""


def in_turn(*, begin: float, every: float, count: int) -> Instants:
    """Return when to connect: *count* pairs, *every* seconds from one connection to the next.

    Args:
        begin: The first instant.
        every: Seconds.
        count: Of pairs; the n-th connections of both are the n-th pair.
    """
    one: list[float] = []
    other: list[float] = []
    for number, first in enumerate(who_begins(count)):
        at = begin + 2 * number * every
        one.append(at if first else at + every)
        other.append(at + every if first else at)
    return one, other


def who_begins(count: int) -> list[bool]:
    """Return for each of *count* pairs whether the contender begins: in one of each two."""
    drawn: list[bool] = []
    while len(drawn) < count:
        drawn += random.sample((True, False), 2)
    return drawn[:count]


def evenly(*, begin: float, every: float, count: int) -> list[float]:
    """Return *count* instants, *every* seconds apart."""
    return [begin + number * every for number in range(count)]
