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
import selectors
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")

_FAREWELL = 1.0
"""How long a cancelled caller waits for the thread to end, in seconds."""

_STRETCH = 0.0003
"""Seconds of CPU after which a thread rests, where it can."""

_PAUSE = 0.0005
"""Long enough for a thread that waits for the interpreter lock to wake up and take it."""


class _Rests:
    """How long a thread has worked since it last rested; each has one of its own."""

    def __init__(self) -> None:
        self._rested_at = time.thread_time()

    def if_due(self) -> None:
        """Rest, if it has worked for long enough."""
        if time.thread_time() - self._rested_at > _STRETCH:
            self.now()

    def now(self) -> None:
        """Rest."""
        time.sleep(_PAUSE)
        self._rested_at = time.thread_time()


class _RestingSelector(selectors.DefaultSelector):
    """Rests between two turns of its loop: what is near has often answered by then."""

    def __init__(self, rests: _Rests) -> None:
        super().__init__()
        self._rests = rests

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._rests.if_due()
        return super().select(timeout)


if sys.platform == "win32":
    _Base = asyncio.ProactorEventLoop
else:
    _Base = asyncio.SelectorEventLoop


class _Loop(_Base):
    """A loop that leaves no process behind: a `credential_process` that was given up, say.

    Not the application's policy's loop: uvloop has no watcher for the children of a thread.
    It gives way to other threads between its turns, and when it is asked to.
    """

    def __init__(self) -> None:
        self.rests = _Rests()
        if sys.platform == "win32":
            super().__init__()
        else:
            super().__init__(_RestingSelector(self.rests))
        self._processes: list[asyncio.SubprocessTransport] = []

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        """Start a process and remember it."""
        transport, protocol = await super().subprocess_exec(*args, **kwargs)
        self._processes.append(transport)
        return transport, protocol

    async def end_processes(self) -> None:
        """Kill what still runs, and wait until it is known to be gone."""
        for transport in self._processes:
            transport.close()  # kills it if it has not ended
        with anyio.move_on_after(_FAREWELL, shield=True):
            # A transport tells of its process's end by no event that one could wait for.
            while any(t.get_returncode() is None for t in self._processes):  # noqa: ASYNC110
                await asyncio.sleep(0.001)


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
    try:
        thread.start()
    except RuntimeError:
        # Since Python 3.12 there are no new ones once the main thread has ended; or the
        # limit of them is reached. To stall the caller's loop is better than to fail.
        return await work()
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


def give_way() -> None:
    """Let the other threads run, if this one has worked for long; call it between two steps.

    A thread that wants the interpreter lock asks for it only after 5 ms
    (`sys.getswitchinterval`), and 5 ms later again if another was faster: whoever lets go
    just for a system call hardly ever hands it over. Outside of a thread of ours it does
    nothing: there it would stall the very loop that it is to spare.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    if isinstance(loop, _Loop):
        loop.rests.if_due()


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
            with asyncio.Runner(loop_factory=_Loop) as runner:
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
        self._loop = loop = asyncio.get_running_loop()
        assert isinstance(loop, _Loop)
        if self._cancelled:
            raise asyncio.CancelledError
        try:
            loop.rests.now()  # for the caller, who has just started a thread
            return await self._work()
        finally:
            await loop.end_processes()

    def cancel(self) -> None:
        self._cancelled = True
        if self._loop is not None and self._task is not None:
            # The thread may have finished meanwhile, and its loop be closed.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)
