"""The fault matrix of docs/explanation/failures.md: the process, its clocks and its forks."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from rds_iam_async import RefreshPolicy, TokenRefresher
from rds_iam_async._clock import SystemClock
from rds_iam_async.telemetry import ClockJumped
from rds_iam_async.testing import LocalRds

from .test_credentials_done_right import Witness, state_of
from .workload import RoleSession, SteadyLoad, outcomes, until_true

pytestmark = pytest.mark.anyio


def refresher_of(rds: LocalRds, engine: AsyncEngine, **how: Any) -> TokenRefresher:
    how = {"credentials": rds, "policy": RefreshPolicy(lifetime=2), "observe": Witness(), **how}
    return TokenRefresher(engine, ca_file=rds.ca_file, region=rds.region, **how)


# Its clocks


class SteppedClock(SystemClock):
    """The machine's clocks, wrong by so many seconds; sleeping is real."""

    def __init__(self, *, wall: float = 0.0, boot: float = 0.0) -> None:
        super().__init__()
        self.wall_off, self.boot_off = wall, boot
        true_wall, true_boot = self.wall, self.boot
        self.wall = lambda: true_wall() + self.wall_off
        self.boot = lambda: true_boot() + self.boot_off

    def suspend(self, seconds: float) -> None:
        """Go on without the time in between, as a machine that wakes up; monotonic time stood."""
        self.wall_off += seconds
        self.boot_off += seconds


def noticed(witness: Witness, by: float) -> Callable[[], bool]:
    """Return whether a jump of *by* seconds, give or take one, has been noticed."""
    events = witness.events
    return lambda: any(isinstance(e, ClockJumped) and abs(e.by - by) < 1 for e in events)


async def test_wall_clock_jumps_10_min_back(rds: LocalRds, fresh_connects: AsyncEngine) -> None:
    """L6, L7: and ahead again. Only our clock is stepped: the server's is right throughout."""
    clock, witness = SteppedClock(), Witness()
    refresher = refresher_of(rds, fresh_connects, clock=clock, observe=witness)
    async with refresher, SteadyLoad(fresh_connects, refresher, now=clock.wall) as load:
        await load.see(connects=1)
        clock.wall_off = -600
        state = state_of(refresher)
        assert (state.ready, state.usable_for) == (False, 0)  # it dates from the future
        await until_true(noticed(witness, -600))
        await load.see(connects=3)
        await until_true(lambda: state_of(refresher).ready)

        clock.wall_off = 0
        state = state_of(refresher)
        assert (state.ready, state.usable_for) == (False, 0)  # it is ten minutes old
        await until_true(noticed(witness, 600))
        await load.see(connects=3)
        await until_true(lambda: state_of(refresher).ready)
    assert load.errors == []
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


async def test_wall_clock_jumps_10_min_ahead(rds: LocalRds, fresh_connects: AsyncEngine) -> None:
    """AWS refuses what is dated more than 5 min ahead; the token from before goes on."""
    clock, witness = SteppedClock(), Witness()
    refresher = refresher_of(
        rds, fresh_connects, clock=clock, observe=witness, policy=RefreshPolicy()
    )
    async with refresher, SteadyLoad(fresh_connects, refresher, now=clock.wall) as load:
        await load.see(connects=1)
        clock.wall_off = 600
        await load.see(connects=3)
        refresher.password(replace(rds.endpoint, user="first"))  # wakes it, to notice the jump
        await until_true(noticed(witness, 600))
        await load.see(connects=3)
        state = refresher.status().endpoints[0]
        assert (state.ready, state.last_error) == (True, None)
        assert state.rejections >= 1

        clock.wall_off = 0
        refresher.password(replace(rds.endpoint, user="second"))
        await until_true(noticed(witness, -600))
        await load.see(connects=3)
        state = refresher.status().endpoints[0]
        assert (state.ready, state.last_error) == (True, None)
        assert state.minted_at is not None
        assert state.minted_at <= time.time()
    assert load.errors == []
    assert "denied" in outcomes(rds)


async def test_machine_suspended_for_20_min(rds: LocalRds, fresh_connects: AsyncEngine) -> None:
    """L7, L12: token and keys died meanwhile, and neither is tried.

    The clocks start 20 min slow; waking up sets wall and boot time right and leaves the
    monotonic one, which does not count suspend. So after it all times are true, and the
    server would refuse the old token, dated 20 min ago. 20 min are 20 min here.
    """
    clock = SteppedClock(wall=-1200, boot=-1200)
    role = RoleSession(rds, lifetime=0)
    refresher = refresher_of(
        rds, fresh_connects, clock=clock, credentials=role, policy=RefreshPolicy()
    )
    async with refresher:
        state = state_of(refresher)
        assert state.ready
        assert state.usable_for > 800
        role.lifetime = 3600
        clock.suspend(1200)
        state = state_of(refresher)
        assert (state.ready, state.usable_for) == (False, 0)
        async with SteadyLoad(fresh_connects, refresher, now=clock.wall) as load:
            await load.see(connects=5)
        state = state_of(refresher)
    assert load.errors == []
    assert (state.ready, state.cold_mints, state.access_key_id) == (True, 1, role.issued[-1])
    assert outcomes(rds) == {"accepted": len(load.succeeded)}


# Real processes

HERE = Path(__file__).parents[2]

patient = pytest.mark.timeout(90)
"""For tests that start a program, which may take its time on a busy machine."""

PRELUDE = """
import asyncio, json, multiprocessing, os, sys, time
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from rds_iam_async import Credentials, RefreshPolicy, TokenRefresher
from tests.local.workload import SteadyLoad, one_connect

class Keys:  # the chain takes long to import
    async def snapshot(self):
        key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        return Credentials(access_key_id=key, secret_access_key=secret)

engine = create_async_engine(os.environ["URL"], poolclass=NullPool)
refresher = TokenRefresher(engine, credentials=Keys(), policy=RefreshPolicy(lifetime=2))

def state_of(refresher):
    return refresher.status().endpoints[0]

async def until_ready():  # a token of 2 s may be dead when it is asked for, but not for long
    while not refresher.status().ready:
        await asyncio.sleep(0.01)
    return True

def ours():
    return [t.get_name() for t in asyncio.all_tasks()].count("rds_iam_async refresher")
"""


def environment(rds: LocalRds) -> dict[str, str]:
    return {**os.environ, **rds.environment, "URL": rds.url}


@pytest.fixture
def program(rds: LocalRds, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A program of its own, the test's parameter; killed when the test is over."""
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(request.param)],
        cwd=HERE,
        env=environment(rds),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


FROZEN = """
async def main():
    async with refresher, SteadyLoad(engine, refresher) as load:
        await load.see(connects=3)
        before = state_of(refresher)
        print("running", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await load.see(connects=5)
        ready = await until_ready()
    ends = [attempt.ended for attempt in load.attempts]
    print(json.dumps({
        "errors": [repr(error) for error in load.errors],
        "gap": max(later - earlier for earlier, later in zip(ends, ends[1:])),
        "mints": state_of(refresher).mints - before.mints,
        "ready": ready,
    }))
asyncio.run(main())
"""


@patient
@pytest.mark.parametrize("program", [FROZEN], indirect=True, ids=[""])
async def test_process_frozen_past_expiry(rds: LocalRds, program: subprocess.Popen[str]) -> None:
    """L7, L12: after SIGSTOP and SIGCONT no dead token fails a connect."""
    rds.token_lifetime = 2
    assert program.stdout is not None
    assert await asyncio.to_thread(program.stdout.readline) == "running\n"
    program.send_signal(signal.SIGSTOP)
    await asyncio.sleep(2.2)  # whatever token it has lives for 2 s
    program.send_signal(signal.SIGCONT)
    said, _ = await asyncio.to_thread(program.communicate, "\n", timeout=60)
    told = json.loads(said)
    assert told["errors"] == []
    assert told["gap"] >= 2.2
    assert told["mints"] >= 1
    assert told["ready"]


FORKED = """
fork = multiprocessing.get_context("fork")

async def life():
    inherited = state_of(refresher)
    async with SteadyLoad(engine, refresher) as load:
        await load.see(connects=1)
        await asyncio.sleep(max(0, state_of(refresher).expires_at - time.time()))
        await load.see(connects=3)
    ready = await until_ready()
    tasks = ours()
    await refresher.aclose()
    return {
        "inherited": inherited.minted_at is not None,
        "errors": [repr(error) for error in load.errors],
        "connects": len(load.succeeded),
        "tasks": tasks,
        "ready": ready,
    }

def child(pipe):
    pipe.send(asyncio.run(life()))

async def main():
    await refresher.start()
    pipes = []
    for _ in range(2):
        mine, theirs = fork.Pipe()
        process = fork.Process(target=child, args=(theirs,))
        process.start()
        pipes.append((process, mine))
    told = [await life()]
    for process, pipe in pipes:
        told.append(await asyncio.to_thread(pipe.recv))
        await asyncio.to_thread(process.join)
    print(json.dumps(told))
asyncio.run(main())
"""


@patient
@pytest.mark.parametrize("program", [FORKED], indirect=True, ids=[""])
async def test_fork_after_start_multiprocessing(
    rds: LocalRds, program: subprocess.Popen[str]
) -> None:
    """L20: parent and children all go on; a child trusts neither task nor token it inherited."""
    rds.token_lifetime = 2
    said, _ = await asyncio.to_thread(program.communicate, timeout=60)
    parent, *children = json.loads(said)
    assert parent["inherited"]
    assert [child["inherited"] for child in children] == [False, False]
    for told in (parent, *children):
        assert told["errors"] == []
        assert (told["ready"], told["tasks"]) == (True, 1)
    total = sum(told["connects"] for told in (parent, *children))
    assert outcomes(rds)["accepted"] == total


PRELOADED = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

asyncio.run(refresher.start())  # in the master, which loads the app before it forks

async def index(request):
    before = state_of(refresher)
    await one_connect(engine)
    await until_ready()
    return JSONResponse({"pid": os.getpid(), "first": before.mints == 0 or before.ready,
                         "tasks": ours(), **state_of(refresher).to_dict()})

app = Starlette(routes=[Route("/", index)])
"""


@pytest.fixture
def gunicorn(rds: LocalRds, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "preloaded.py").write_text(PRELUDE + PRELOADED)
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "preloaded:app", "--preload", "--workers=2"),
            *("--worker-class=uvicorn_worker.UvicornWorker", "--bind=127.0.0.1:0"),
            f"--pythonpath={tmp_path},{HERE}",
        ],
        cwd=tmp_path,
        env=environment(rds),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@patient
async def test_fork_after_start_gunicorn_preload(
    rds: LocalRds, gunicorn: subprocess.Popen[str]
) -> None:
    """L20: each worker starts a task of its own, and goes on past the life of a token."""
    rds.token_lifetime = 2
    assert gunicorn.stderr is not None
    said = ""
    while not (found := re.search(r"Listening at: (http://\S+)", said)):
        said += await asyncio.to_thread(gunicorn.stderr.readline)
    address = found[1]
    answers: list[httpx.Response] = []
    async with httpx.AsyncClient(headers={"Connection": "close"}, timeout=30) as client:

        async def worker_mints() -> dict[int, int]:
            batch = await asyncio.gather(*(client.get(address) for _ in range(6)))
            answers.extend(batch)
            return {answer.json()["pid"]: answer.json()["mints"] for answer in answers}

        async with asyncio.timeout(45):
            while len(mints := await worker_mints()) < 2 or min(mints.values()) < 3:
                pass
    gunicorn.send_signal(signal.SIGTERM)
    said += (await asyncio.to_thread(gunicorn.communicate, timeout=60))[1]
    assert gunicorn.returncode == 0
    assert "Traceback" not in said
    assert {answer.status_code for answer in answers} == {200}
    for answer in answers:
        told = answer.json()
        assert (told["ready"], told["tasks"], told["last_error"]) == (True, 1, None)
        assert told["pid"] != gunicorn.pid
    assert outcomes(rds)["accepted"] == len(answers)
