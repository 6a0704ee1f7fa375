"""The local RDS and the local AWS of the soak, in a process of their own.

What they keep (logs, keys, connections) must not be counted as the application's memory,
tasks or files. Run as a program this is that process: for each line of JSON on its
standard input, `[lever, value]`, it pulls a lever and answers with a line when it is done.
It ends with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import sys
from collections.abc import AsyncIterator

from _soak_faults import CREDENTIALS_LIFETIME, TOKEN_LIFETIME

from rds_iam_async.testing import LocalAws, LocalRds


class Stage:
    """That process, seen from the application.

    Attributes:
        url: Where the database is.
    """

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self.url = url

    async def pull(self, lever: str, value: object) -> None:
        """Pull *lever*, and wait until that is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([lever, value]).encode() + b"\n")
        await _said(self._process)


@contextlib.asynccontextmanager
async def stage(provider: str) -> AsyncIterator[Stage]:
    """Start it, and make this process get its AWS keys there, from *provider*."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, provider, stdin=asyncio.subprocess.PIPE, stdout=-1
    )
    try:
        url, environment = json.loads(await _said(process))
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(environment)
        yield Stage(process, url)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _said(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("the local RDS and AWS have ended; see what they said above")
    return line


def main(provider: str) -> None:
    """Be that process."""
    with (
        LocalRds(token_lifetime=TOKEN_LIFETIME) as rds,
        LocalAws(rds, lifetime=CREDENTIALS_LIFETIME) as aws,
    ):
        print(json.dumps([rds.url, aws.environment(provider)]), flush=True)
        for line in sys.stdin:
            lever, value = json.loads(line)
            target, _, name = lever.partition(".")
            _pull({"rds": rds, "aws": aws}[target], name, value)
            print("done", flush=True)


def _pull(target: object, name: str, value: object) -> None:
    if not inspect.isfunction(getattr(type(target), name)):
        setattr(target, name, value)
    elif value is None:
        getattr(target, name)()
    else:
        getattr(target, name)(value)


if __name__ == "__main__":
    main(*sys.argv[1:])
