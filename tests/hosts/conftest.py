"""Programs of their own, each a host that brings its loop, its signals and its way to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from rds_iam_async.testing import LocalRds

PRELUDE = """
import asyncio, contextlib, os, sys, threading
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from rds_iam_async import TokenRefresher, open_engine
URL = os.environ["URL"]

async def user(engine):
    async with engine.connect() as connection:
        return (await connection.execute(text("select current_user"))).scalar_one()

def ours():
    names = [task.get_name() for task in asyncio.all_tasks()]
    names += [thread.name for thread in threading.enumerate()]
    return sorted(name for name in names if "rds_iam" in name)

async def opened(refresher, engine):
    status = refresher.status().endpoints[0]
    return {"user": await user(engine), "cold": status.cold_mints, "ours": ours()}
"""
"""What the programs share: who the database takes us for, and what of ours is there."""

WELL = {"user": "app", "cold": 0, "ours": ["rds_iam_async refresher"]}
"""What `opened` says within a host where all is well."""

LIMIT = 30
"""Seconds after which a program is killed, so that its test fails with its output."""

patient = pytest.mark.timeout(LIMIT + 10)
"""For tests that start a program, which may take its time on a busy machine."""


class Host:
    """A running program, and what it has said so far on both outputs."""

    def __init__(self, program: str, env: dict[str, str]) -> None:
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-W", "error", "-c", PRELUDE + textwrap.dedent(program)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._limit = threading.Timer(LIMIT, self.process.kill)
        self._limit.start()

    def __str__(self) -> str:
        # One warning is due, and left out: that localhost is no RDS name.
        return "".join(line for line in self.said if "token_host=" not in line)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the match in the next line that has one."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"no {pattern!r} in:\n{self}")

    def get(self, address: str) -> Any:
        """Return what the JSON at an address of a server says."""
        with httpx.Client(trust_env=False) as client:
            return client.get(address).raise_for_status().json()

    def end(self, number: signal.Signals | None = None) -> int:
        """Read to the end, after a signal if one is given; return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        assert self.process.stdout is not None
        self.said += self.process.stdout
        code = self.process.wait()
        self.close()
        return code

    def close(self) -> None:
        self._limit.cancel()
        self._limit.join()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


Start = Callable[..., Host]


@pytest.fixture(scope="session")
def running_rds() -> Iterator[LocalRds]:
    with LocalRds() as rds:
        yield rds


@pytest.fixture
def environment(running_rds: LocalRds) -> dict[str, str]:
    """The environment of a program that uses the local RDS."""
    return {**os.environ, **running_rds.environment, "URL": running_rds.url}


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Start programs, and leave none behind; without *keys* there are none in the AWS chain."""
    hosts: list[Host] = []

    def start(program: str, *, keys: bool = True) -> Host:
        env = dict(environment)
        if not keys:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
                env.pop(name, None)
            env |= {
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            }
        hosts.append(Host(program, env))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()
