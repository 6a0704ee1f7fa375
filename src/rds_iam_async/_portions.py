"""Much work in small portions, with a turn of the event loop after each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class Portions(Generic[T]):
    """The items there are now, at most so many at a time; they may change meanwhile.

    After each portion, also the last, the loop turns: somebody else may attach, detach,
    start or close there, and who works through them has to look again. An asynchronous
    generator would be shorter, but one that is left early is closed by the loop, some
    time, and not at the end of the `async for`.
    """

    def __init__(self, items: Iterable[T], most: int) -> None:
        """Take *items*, of which *most* are handed out at once."""
        self._rest = iter(tuple(items))
        self._most = most
        self._begun = False

    def __aiter__(self) -> Portions[T]:
        """Return itself: it can be gone through once."""
        return self

    async def __anext__(self) -> tuple[T, ...]:
        """Let the loop turn, unless nothing has been handed out yet; return the next ones."""
        if self._begun:
            await asyncio.sleep(0)
        portion = tuple(islice(self._rest, self._most))
        if not portion:
            raise StopAsyncIteration
        self._begun = True
        return portion
