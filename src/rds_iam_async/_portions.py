"""Much work in small portions: who does it lets the loop turn after each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def portions(items: Iterable[T], most: int) -> Iterator[tuple[T, ...]]:
    """Yield the items there are now, at most so many at a time; they may change meanwhile.

    The turn (`await asyncio.sleep(0)`) stands in the caller's loop, where a reader has to see
    that somebody else may attach, detach, start or close between two portions.
    """
    rest = iter(tuple(items))
    while portion := tuple(islice(rest, most)):
        yield portion
