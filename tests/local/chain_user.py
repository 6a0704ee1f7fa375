"""A process of its own that uses the ordinary AWS chain, and does what it is told line by line.

botocore reads HOME when it is imported, so SSO can be tried in a new process only.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import aioboto3
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import CredentialsError, RefreshPolicy, TokenRefresher
from rds_iam_async.testing import LocalAws, LocalRds

from .workload import one_connect


class ChainUser:
    """The process, as those who give it orders see it."""

    def __init__(self, rds: LocalRds, aws: LocalAws, provider: str, *, wait: float = 5.0) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, rds.url, str(wait)],
            cwd=Path(__file__).parents[2],
            env=clean | aws.environment(provider),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def ask(self, what: str) -> dict[str, Any]:
        """Let it do one thing, and block until it says how that went."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


async def ask_the_sdk() -> dict[str, Any]:
    """Resolve the chain without us."""
    chain = await aioboto3.Session().get_credentials()
    frozen = await chain.get_frozen_credentials()
    return {"provider": chain.method, "access_key_id": frozen.access_key}


async def connect(refresher: TokenRefresher, engine: Any) -> dict[str, Any]:
    """Open one connection with a token of ours, and say by whose keys."""
    await one_connect(engine)
    (state,) = refresher.status().endpoints
    return state.to_dict()


async def start(url: str, policy: RefreshPolicy) -> dict[str, Any]:
    """Start a refresher of its own, and say what is told when that fails."""
    refresher = TokenRefresher(create_async_engine(url), policy=policy)
    try:
        await refresher.start()
    except CredentialsError as error:
        return {"error": f"{error} {error.hint} {error.__cause__!r}"}
    await refresher.aclose()
    return {}


async def obey(url: str, wait: float) -> None:
    policy = RefreshPolicy(wait=wait)
    engine = create_async_engine(url, poolclass=NullPool)
    refresher = TokenRefresher(engine, policy=policy)
    orders = {
        "sdk": ask_the_sdk,
        "connect": lambda: connect(refresher, engine),
        "start": lambda: start(url, policy),
    }
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await orders[line.strip()]()), flush=True)
    await refresher.aclose()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(obey(sys.argv[1], float(sys.argv[2])))
