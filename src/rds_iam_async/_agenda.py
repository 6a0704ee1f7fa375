"""What is due when: items in groups, one for each sixteenth of a second."""

from __future__ import annotations

import heapq
import math
from typing import Generic, TypeVar

T = TypeVar("T")

GRAIN = 1 / 16
"""Seconds by which an item may be late: those in between are due together, for one wake-up."""


def grouped(at: float) -> float:
    """Return when an item that wants attention *at* some instant is due, with others."""
    return at if math.isinf(at) else math.ceil(at / GRAIN) * GRAIN


class Agenda(Generic[T]):
    """Items by the instant at which they want attention, each with one at most.

    An item costs no object of its own here. One that is replaced as often as a token would
    have the garbage collector look at thousands in one go: it counts what is made less what
    is freed, and so begins late.
    """

    def __init__(self) -> None:
        self._instants: list[float] = []  # a heap of the groups there are, also of empty ones
        self._groups: dict[float, dict[T, None]] = {}
        self._group_of: dict[T, dict[T, None]] = {}

    def put(self, item: T, at: float) -> None:
        """Set the item's appointment, replacing the one that it has."""
        self.remove(item)
        instant = grouped(at)
        group = self._groups.get(instant)
        if group is None:
            group = self._groups[instant] = {}
            heapq.heappush(self._instants, instant)
        group[item] = None
        self._group_of[item] = group

    def remove(self, item: T) -> None:
        """Cancel the item's appointment, if it has one."""
        group = self._group_of.pop(item, None)
        if group is not None:
            del group[item]

    def pop_due(self, now: float, *, most: int) -> list[T]:
        """Take out and return items that are due, the earliest first.

        Args:
            now: The time.
            most: How many at once; there may be more, as long as there are any.
        """
        instant = self.next_at()
        if instant > now or instant == math.inf:
            return []
        group = self._groups[instant]
        due = [group.popitem()[0] for _ in range(min(most, len(group)))]
        for item in due:
            del self._group_of[item]
        return due

    def next_at(self) -> float:
        """Return the earliest appointment; infinity when there is none."""
        while self._instants and not self._groups[self._instants[0]]:
            del self._groups[heapq.heappop(self._instants)]
        return self._instants[0] if self._instants else math.inf
