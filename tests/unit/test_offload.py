"""Work in a thread of its own: nothing inherited, nothing left behind."""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from rds_iam_async._offload import give_way, in_own_loop, in_thread

pytestmark = pytest.mark.anyio

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


async def test_it_runs_in_another_thread_and_loop_with_an_empty_context() -> None:
    """What stalls there does not stall here."""
    request_id.set("req-42")

    async def look() -> tuple[int, int, str]:
        return threading.get_ident(), id(asyncio.get_running_loop()), request_id.get()

    thread, loop, seen = await in_own_loop(look, name="test-thread")
    assert thread != threading.get_ident()
    assert loop != id(asyncio.get_running_loop())
    assert seen == "none"


async def test_errors_come_back_as_they_are() -> None:
    """Bare, with their own type."""

    def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await in_thread(fail, name="test-thread")


async def test_cancelling_the_caller_ends_the_thread() -> None:
    """L19: a credential call that hangs leaves no thread behind."""
    inside = threading.Event()
    cancelled = threading.Event()

    async def hang() -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = asyncio.ensure_future(in_own_loop(hang, name="test-hanging"))
    await asyncio.get_running_loop().run_in_executor(None, inside.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert cancelled.is_set()
    assert "test-hanging" not in {thread.name for thread in threading.enumerate()}


async def test_one_cancelled_before_it_began_does_nothing() -> None:
    """The thread may start later than its caller gives up."""
    ran = threading.Event()

    async def work() -> None:
        ran.set()
        await asyncio.Event().wait()

    waiting = asyncio.ensure_future(in_own_loop(work, name="test-early"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert "test-early" not in {thread.name for thread in threading.enumerate()}


async def test_the_app_loop_is_free_while_the_thread_is_stuck_in_blocking_code() -> None:
    """The caller hears of its cancellation within a second, not when the call comes back."""
    took = [math.inf]
    while min(took) >= 2:  # of several, for the machine may pause in one
        assert len(took) < 4, took
        release = threading.Event()
        waiting = asyncio.ensure_future(in_thread(release.wait, name="test-stuck"))
        await asyncio.sleep(0)
        waiting.cancel()
        began = asyncio.get_running_loop().time()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        took.append(asyncio.get_running_loop().time() - began)
        release.set()


async def test_a_process_that_was_given_up_is_killed() -> None:
    """L19: a `credential_process` that is slower than its bound."""
    started: list[asyncio.subprocess.Process] = []
    running = threading.Event()

    async def wait_for_a_process() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "import time; time.sleep(60)", stdout=asyncio.subprocess.PIPE
        )
        started.append(process)
        running.set()
        await process.communicate()

    waiting = asyncio.ensure_future(in_own_loop(wait_for_a_process, name="test-process"))
    await asyncio.get_running_loop().run_in_executor(None, running.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert started[0].returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(started[0].pid, 0)
    assert "test-process" not in {thread.name for thread in threading.enumerate()}


async def test_without_a_thread_to_be_had_the_work_is_done_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the interpreter's exit, say: a stalled loop is better than a failure."""

    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert await in_thread(threading.current_thread, name="x") is threading.current_thread()


def work(seconds: float) -> None:
    """Keep the processor, and the interpreter lock, for so long."""
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


class Turns:
    """How often the application's loop has had a turn."""

    def __init__(self) -> None:
        self.number = 0

    async def count(self) -> None:
        while True:
            self.number += 1
            await asyncio.sleep(0)


@asynccontextmanager
async def nobody_is_interrupted() -> AsyncIterator[Turns]:
    """Let the interpreter lock change hands only when its holder rests."""
    interval = sys.getswitchinterval()
    turns = Turns()
    counting = asyncio.create_task(turns.count())
    sys.setswitchinterval(60)
    try:
        yield turns
    finally:
        sys.setswitchinterval(interval)
        counting.cancel()


async def between_steps() -> None:
    give_way()


async def between_turns() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("rest", [between_steps, between_turns])
async def test_the_app_loop_has_its_turn_between_the_steps_of_work_in_a_thread(
    rest: Callable[[], Awaitable[None]],
) -> None:
    """L9: what counts for the application is the longest step, not the whole of the work."""
    async with nobody_is_interrupted() as turns:

        async def in_steps() -> list[int]:
            seen = []
            for _ in range(40):
                work(0.0005)
                await rest()
                seen.append(turns.number)
            return seen

        seen = await in_own_loop(in_steps, name="test-steps")
    # A busy machine may give the loop no processor in many of the rests. Without rests
    # there is one turn, if any.
    assert len(set(seen)) > len(seen) / 10


async def test_what_gives_way_too_often_is_not_held_up() -> None:
    """Only who has worked for long rests: a look of a hundred small steps stays quick."""

    async def in_tiny_steps() -> float:
        give_way()
        began = time.perf_counter(), time.thread_time()
        while time.thread_time() - began[1] < 0.001:
            give_way()
        return time.perf_counter() - began[0]

    took = [await in_own_loop(in_tiny_steps, name="test-tiny-steps") for _ in range(5)]
    assert min(took) < 0.02


async def test_where_no_thread_of_ours_runs_nobody_rests() -> None:
    """On the application's own loop a rest would be the stall that it is to prevent."""
    work(0.001)
    spent = time.thread_time()
    began = time.perf_counter()
    took = []
    for _ in range(20):
        work(0.0005)
        began = time.perf_counter()
        give_way()
        took.append(time.perf_counter() - began)
    assert min(took) < 0.0003 < time.thread_time() - spent
