"""An event loop in a daemon thread of its own, for code that must not share the app's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


if sys.platform == "win32":
    _Loop = asyncio.ProactorEventLoop
else:
    _Loop = asyncio.SelectorEventLoop


class LoopThread:
    """A running loop, for clients that block, and for tests that stall their own loop.

    A daemon: the interpreter does not wait for it when it exits.
    """

    def __init__(self, name: str) -> None:
        self._running = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()
        self._running.wait()
        if self._failure is not None:
            raise RuntimeError(f"no event loop: {self._failure}") from self._failure

    @property
    def alive(self) -> bool:
        """Whether it runs; never in a child that was forked since."""
        return self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether the caller is in it."""
        return threading.current_thread() is self._thread

    def begin(self, work: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
        """Start *work* there. What is begun before `end` has an outcome, if only cancellation."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def post(self, call: Callable[[], object]) -> None:
        """Let *call* be called there soon."""
        self._loop.call_soon_threadsafe(call)

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run *work* there and block until it is done."""
        return self.begin(work).result()

    def end(self) -> None:
        """Cancel what is running there, and let the thread end."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._ending.set)

    def join(self, within: float | None = None) -> None:
        """Block until the thread has ended, at most *within* seconds."""
        self._thread.join(within)

    def stop(self) -> None:
        """Cancel what is running there and end the thread."""
        self.end()
        self.join()

    def _main(self) -> None:
        # Not the app's policy: what is measured against this loop should not
        # depend on whether the app runs on uvloop.
        try:
            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(self._until_ended())
        except Exception as error:  # no file descriptor left for a loop, say
            self._failure = error
        finally:
            self._running.set()  # whoever began it is not to wait for ever

    async def _until_ended(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._running.set()
        await self._ending.wait()
