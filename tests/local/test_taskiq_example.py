"""The Taskiq example does what it says: a real worker of two processes, and a real Redis."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rds_iam_async.testing import LocalRds

from .test_examples import (
    END_SESSIONS,
    EXAMPLES,
    NOBODY_STAYS,
    Output,
    ShortLivedKeys,
    Start,
    UseOnly,
    database,
    output,
    start,
    use_only,
)
from .workload import outcomes

__all__ = ["database", "output", "start", "use_only"]  # fixtures

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("start"),
]

LIFETIME = 3
"""Seconds that keys live, and with them tokens, for us and for the server."""

WORKER = (
    *("-W", "error", "-m", "taskiq", "worker", "--app-dir", EXAMPLES),
    *("--workers", "2", "--log-level", "DEBUG", "taskiq_worker:broker"),
)


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A Redis of the test's own. CI installs one: there its absence is a failure."""
    program = shutil.which("redis-server")
    if program is None and "CI" not in os.environ:
        pytest.skip("redis-server is not installed")
    assert program is not None, "redis-server is not installed"
    # Without a port, so nobody else's is met; the path of a socket may have 107 characters.
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory) / "redis"
        with subprocess.Popen(
            [program, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", directory],
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                assert server.stdout is not None
                said = ""
                while "ready to accept connections" not in said:
                    line = server.stdout.readline()
                    assert line, said
                    said += line
                yield f"unix://{socket}"
            finally:
                server.kill()


async def test_jobs_wait_for_credentials_and_are_done_by_each_process_while_tokens_rotate(
    database: LocalRds,
    redis_url: str,
    start: Start,
    output: Output,
    tmp_path: Path,
    use_only: UseOnly,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process without credentials takes no job, and is started anew; with them no job and no
    login fails, though tokens die and sessions end; at its end nothing is left, nothing
    complained, and no token was shown.
    """
    database.token_lifetime = LIFETIME
    keys = ShortLivedKeys(tmp_path, database, lifetime=LIFETIME)
    variables = keys.environment | {"REDIS_URL": redis_url}
    use_only(variables)
    monkeypatch.syspath_prepend(EXAMPLES)
    app = importlib.import_module("taskiq_worker")
    monkeypatch.delitem(sys.modules, "taskiq_worker")

    async def sent(count: int) -> list[Any]:
        return [await app.store_order.kiq("tea", n + 1) for n in range(count)]

    async def done(jobs: list[Any]) -> list[int]:
        return [(await job.wait_result(timeout=60)).return_value for job in jobs]

    away = keys.program.rename(tmp_path / "away")
    worker = start(*WORKER, env=variables)
    jobs = await sent(3)  # before there is a consumer group, which the first worker makes
    output.wait_for("CredentialsError", times=2, within=60)
    assert outcomes(database) == {}
    away.rename(keys.program)
    stored = await done(jobs)

    for process in ("worker-0", "worker-1"):
        # When the third token is minted the first is dead.
        output.wait_for(rf"\[{process}\] minted a token", times=3, within=60)
    database.execute(END_SESSIONS)
    async with asyncio.timeout(60):
        while len(set(re.findall(r"stored by process (\d+)", str(output)))) < 2:
            stored += await done(await sent(2))
    assert sorted(stored) == list(range(1, len(stored) + 1))

    assert worker.end(signal.SIGTERM) == 0
    output.wait_for("refresher closed", times=2)
    await app.broker.shutdown()
    assert set(outcomes(database)) == {"accepted"}
    database.execute(NOBODY_STAYS)
    for word in ("Warning", "X-Amz-Signature", *keys.secrets):
        assert word not in str(output), f"{output}"
