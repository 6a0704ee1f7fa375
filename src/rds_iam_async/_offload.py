"""Work in a thread of its own, so that it cannot stall the loop that waits for it.

A thread per call, not a pool: the calls are rare (one per credential lifetime), and a
thread that ends with its call leaves nothing to close, to inherit over `fork()` or to
hang the interpreter's exit, as the worker threads of `anyio.to_thread` and an open
blocking portal would.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

_FAREWELL = 1.0
"""How long a cancelled caller waits for the thread to end, in seconds."""


async def in_own_loop(work: Callable[[], Coroutine[Any, Any, T]], *, name: str) -> T:
    """Run the coroutine that *work* makes, in a fresh event loop of a fresh thread.

    Cancelling the caller cancels the coroutine and waits up to a second for the thread
    to end; one that is stuck in blocking code is left behind, as a daemon.

    Args:
        work: Called in the thread, with an empty context: it inherits none of the
            caller's context variables.
        name: The thread's name, for those who read a stack dump.

    Returns:
        What the coroutine returns.

    Raises:
        Exception: What the coroutine raises, as it is.
    """
    run = _Run(work)
    thread = threading.Thread(target=run.main, name=name, daemon=True)
    thread.start()
    outcome = asyncio.wrap_future(run.outcome)
    # The caller may be gone when it fails: then nobody is to read of it at exit.
    outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        return await asyncio.shield(outcome)
    except asyncio.CancelledError:
        run.cancel()
        with anyio.move_on_after(_FAREWELL, shield=True):
            await asyncio.wait([asyncio.wrap_future(run.ended)])
            thread.join()  # it has nothing left to do but to end
        raise


async def in_thread(work: Callable[[], T], *, name: str) -> T:
    """Run the blocking function *work* in a fresh thread; otherwise like `in_own_loop`."""

    async def call() -> T:
        return work()

    return await in_own_loop(call, name=name)


class _Run:
    """One coroutine in one thread, and the two facts that others wait for."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._work = work
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self.outcome: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()

    def main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                result = runner.run(self._body())
        except asyncio.CancelledError:
            self.outcome.cancel()
        except BaseException as error:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(result)
        finally:
            self.ended.set_result(None)

    async def _body(self) -> Any:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._cancelled:
            raise asyncio.CancelledError
        return await self._work()

    def cancel(self) -> None:
        self._cancelled = True
        if self._loop is not None and self._task is not None:
            # The thread may have finished meanwhile, and its loop be closed.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)
