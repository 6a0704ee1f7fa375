"""What is due when: a heap of appointments, each item with one at most."""

from __future__ import annotations

import heapq
import itertools
import math
from typing import Generic, TypeVar

T = TypeVar("T")


class Agenda(Generic[T]):
    """Items by the instant at which they want attention."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._valid: dict[T, int] = {}
        self._numbers = itertools.count()

    def put(self, item: T, at: float) -> None:
        """Set the item's appointment, replacing the one that it has."""
        number = next(self._numbers)
        self._valid[item] = number
        heapq.heappush(self._heap, (at, number, item))

    def remove(self, item: T) -> None:
        """Cancel the item's appointment, if it has one."""
        self._valid.pop(item, None)

    def pop_due(self, now: float) -> T | None:
        """Take out and return one item that is due, the earliest first."""
        self._drop_replaced()
        if not self._heap or self._heap[0][0] > now:
            return None
        _, _, item = heapq.heappop(self._heap)
        del self._valid[item]
        return item

    def next_at(self) -> float:
        """Return the earliest appointment; infinity when there is none."""
        self._drop_replaced()
        return self._heap[0][0] if self._heap else math.inf

    def _drop_replaced(self) -> None:
        while self._heap and self._valid.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
