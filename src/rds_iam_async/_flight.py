"""One piece of work at a time; everybody who needs it meanwhile shares its outcome."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import anyio

from ._errors import MintError

T = TypeVar("T")

_beginning = threading.Lock()


class Flight(Generic[T]):
    """Runs *work* once for all who ask while it runs, in each event loop.

    The work is a task of its own, in an empty context: it inherits neither the context
    variables nor the cancel scope of whoever asked first, and a waiter that is
    cancelled cancels nobody else. A failure is shared, too, not tried again in turn.
    """

    __slots__ = ("_about", "_name", "_tasks", "_waiting", "_work")

    def __init__(
        self, work: Callable[[], Coroutine[Any, Any, T]], *, name: str, about: object = ""
    ) -> None:
        self._work = work
        self._name = name
        self._about = about
        # Per loop, because a task can be awaited only in its own. Made when first needed: of
        # ten thousand endpoints hardly any ever has its token refused.
        self._tasks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[T]] | None
        self._tasks = None
        self._waiting = 0

    @property
    def name(self) -> str:
        """What is done, and for whom."""
        return f"{self._name}{self._about}"

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for it, in whichever loop."""
        return self._waiting > 0

    @property
    def running(self) -> bool:
        """Whether it is in the air in the running loop."""
        task = self._latest()
        return task is not None and not task.done()

    def begin(self) -> asyncio.Task[T]:
        """Start it unless it runs already; return its task."""
        loop = asyncio.get_running_loop()
        with _beginning:
            if self._tasks is None:
                self._tasks = weakref.WeakKeyDictionary()
        task = self._tasks.get(loop)
        if task is None or task.done():
            task = loop.create_task(self._work(), name=self.name, context=contextvars.Context())
            # Nobody may be left to hear of a failure; without this asyncio reports it
            # as "never retrieved". Whoever waits gets it all the same.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._tasks[loop] = task
        return task

    async def join(self) -> T:
        """Start it or join it; return its result or raise its error.

        Who has joined one that is abandoned joins its successor.

        Raises:
            MintError: When the work was cancelled: the refresher was closed, or it had hung.
        """
        task = self.begin()
        self._waiting += 1
        try:
            await asyncio.wait([task])
            while task.cancelled() and (successor := self._latest()) not in (None, task):
                task = successor
                await asyncio.wait([task])
        finally:
            self._waiting -= 1
        if task.cancelled():
            raise MintError(
                f"{self.name} was stopped",
                hint="connect before the refresher is closed; else the next connect tries again",
            )
        return task.result()

    async def aclose(self) -> None:
        """Cancel what is in the air in this loop and wait for its end."""
        task = self._forget()
        if task is not None and not task.done():
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])

    def abandon(self) -> None:
        """Cancel what is in the air in this loop, so that the next to ask starts anew."""
        task = self._forget()
        if task is not None:
            task.cancel()

    def _latest(self) -> asyncio.Task[T] | None:
        loop = asyncio.get_running_loop()
        return None if self._tasks is None else self._tasks.get(loop)

    def _forget(self) -> asyncio.Task[T] | None:
        loop = asyncio.get_running_loop()
        return None if self._tasks is None else self._tasks.pop(loop, None)
