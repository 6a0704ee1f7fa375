"""The one thread that a sync refresher has: begun, ended, stuck, and never waited for in vain."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from rds_iam_async import ConfigurationError, MintError
from rds_iam_async._background import Background

LONG = 10.0


@pytest.fixture
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.stop(within=LONG)


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "rds_iam_async"]


async def who() -> threading.Thread:
    return threading.current_thread()


def test_there_is_no_thread_until_somebody_needs_one(background: Background) -> None:
    """And then there is one, which the interpreter does not wait for."""
    assert (background.alive, names()) == (False, [])
    first = background.run(who(), within=LONG)
    assert background.run(who(), within=LONG) is first
    assert (background.alive, first.daemon, names()) == (True, True, ["rds_iam_async"])


def test_many_threads_begin_one_thread(background: Background) -> None:
    """All at once."""
    found: list[threading.Thread] = []
    barrier = threading.Barrier(20)

    def ask() -> None:
        barrier.wait()
        found.append(background.run(who(), within=LONG))

    asking = [threading.Thread(target=ask) for _ in range(20)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(found) == 20
    assert len(set(found)) == 1


def test_what_the_work_raises_comes_out_as_it_is(background: Background) -> None:
    """Also a `TimeoutError` of its own."""

    async def fail(error: Exception) -> None:
        raise error

    for error in (LookupError("mine"), TimeoutError("mine")):
        with pytest.raises(type(error), match="mine"):
            background.run(fail(error), within=LONG)


def test_who_waits_when_it_ends_is_told(background: Background) -> None:
    """L19: nobody waits for a thread that is gone."""
    begun = threading.Event()
    told: list[Exception] = []

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    def ask() -> None:
        try:
            background.run(hang(), within=None)
        except Exception as error:
            told.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    begun.wait()
    background.stop(within=LONG)
    asking.join(LONG)
    assert [type(error) for error in told] == [MintError]
    assert names() == []


def test_it_can_be_begun_again(background: Background) -> None:
    """After it was ended, however often that was said."""
    background.stop(within=LONG)
    first = background.run(who(), within=LONG)
    background.stop(within=LONG)
    background.stop(within=LONG)
    assert background.run(who(), within=LONG) is not first


def test_a_thread_that_is_stuck_is_given_up(background: Background) -> None:
    """The hard cap: an observer that blocks must not hang every connection."""
    stuck, freed = threading.Event(), threading.Event()

    def block() -> None:
        stuck.set()
        freed.wait()

    background.post(block)
    stuck.wait()
    with pytest.raises(MintError, match=r"no answer within 0\.01 s"):
        background.run(who(), within=0.01)
    freed.set()
    background.run(who(), within=LONG)


def test_in_the_thread_itself_it_does_not_wait_for_itself(background: Background) -> None:
    """An observer that connects would hang for ever."""

    async def ask() -> None:
        background.run(who(), within=None)

    with pytest.raises(ConfigurationError, match="own thread"):
        background.run(ask(), within=LONG)


def test_a_call_is_made_in_the_thread_if_there_is_one(background: Background) -> None:
    """So that attaching an engine does not meet the loop in the middle of something."""
    assert background.call(threading.current_thread) is threading.current_thread()
    thread = background.run(who(), within=LONG)
    assert background.call(threading.current_thread) is thread

    async def nested() -> threading.Thread:
        return background.call(threading.current_thread)

    assert background.run(nested(), within=LONG) is thread


def test_it_is_not_ended_as_idle_while_somebody_waits(background: Background) -> None:
    """L10: a start that fails takes no connection with it."""
    begun = threading.Event()
    gate: list[asyncio.Event] = []

    async def wait() -> str:
        gate.append(asyncio.Event())
        begun.set()
        await gate[0].wait()
        return "done"

    outcome: list[str] = []
    asking = threading.Thread(target=lambda: outcome.append(background.run(wait(), within=LONG)))
    asking.start()
    begun.wait()
    background.stop_if_idle(within=LONG)
    assert background.alive
    background.post(gate[0].set)
    asking.join()
    assert outcome == ["done"]
    background.stop_if_idle(within=LONG)
    assert not background.alive


def test_a_forked_child_forgets_who_held_the_lock(background: Background) -> None:
    """L20: a thread that is not there any more would never let go of it."""
    held, freed = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        freed.wait()

    holder = threading.Thread(target=background.call, args=(hold,))  # no thread: in the lock
    holder.start()
    held.wait()
    background.after_fork()
    assert background.run(who(), within=LONG).name == "rds_iam_async"
    freed.set()
    holder.join()


def test_a_thread_that_gets_no_loop_is_an_error_and_holds_up_nobody() -> None:
    """No open file left for it: whoever begins it is told, and the next try may succeed."""
    program = (
        "import resource\n"
        "from rds_iam_async._loop_thread import LoopThread\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "files = []\n"
        "try:\n"
        "    while True: files.append(open('/dev/null'))\n"
        "except OSError: pass\n"
        "try: LoopThread('x')\n"
        "except RuntimeError as error: told = str(error)\n"
        "for file in files: file.close()\n"
        "print(LoopThread('y').alive, told)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=15
    )
    assert done.stdout.startswith("True no event loop: "), done.stderr
