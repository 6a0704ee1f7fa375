"""Much work in small portions: who does it lets the loop turn after each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def portions(items: Iterable[T], most: int) -> Iterator[tuple[T, ...]]:
    """Yield the items there are now, at most so many at a time; they may change meanwhile."""
    rest = iter(tuple(items))
    while portion := tuple(islice(rest, most)):
        yield portion
