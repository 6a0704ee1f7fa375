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
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import CredentialsError, RefreshPolicy, TokenRefresher
from rds_iam_async.testing import LocalAws, LocalRds

from .workload import one_connect

SSO = ("sso", "sso-session")


class ChainUser:
    """The process, as those who give it orders see it."""

    def __init__(self, rds: LocalRds, aws: LocalAws) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, rds.url],
            cwd=Path(__file__).parents[2],
            env=clean | aws.environment("sso"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def ask(self, what: str, provider: str, *more: str) -> dict[str, Any]:
        """Let it do one thing with the profile of this name; block until it says how that went."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join([what, provider, *more]) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


class Life:
    """What the process does, with the profile that the order named."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.running: dict[str, tuple[AsyncEngine, TokenRefresher]] = {}

    async def sdk(self, provider: str) -> dict[str, Any]:
        """Resolve the chain without us."""
        chain = await aioboto3.Session().get_credentials()
        frozen = await chain.get_frozen_credentials()
        return {"provider": chain.method, "access_key_id": frozen.access_key}

    async def connect(self, provider: str) -> dict[str, Any]:
        """Open one connection with a token of ours, and say by whose keys."""
        if provider not in self.running:
            engine = create_async_engine(self.url, poolclass=NullPool)
            # A busy machine's look is not the fault that is looked for.
            self.running[provider] = engine, TokenRefresher(engine, policy=RefreshPolicy(wait=30))
        engine, refresher = self.running[provider]
        await one_connect(engine)
        (state,) = refresher.status().endpoints
        return state.to_dict()

    async def start(self, provider: str, wait: str = "9") -> dict[str, Any]:
        """Start a refresher of its own, and say what is told when that fails."""
        policy = RefreshPolicy(wait=float(wait))
        refresher = TokenRefresher(create_async_engine(self.url), policy=policy)
        try:
            await refresher.start()
        except CredentialsError as error:
            return {"error": f"{error} {error.hint} {error.__cause__!r}"}
        await refresher.aclose()
        return {}


async def obey(life: Life) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        what, provider, *more = line.split()
        os.environ["AWS_PROFILE"] = os.environ["AWS_DEFAULT_PROFILE"] = provider
        print(json.dumps(await getattr(life, what)(provider, *more)), flush=True)
    for engine, refresher in life.running.values():
        await refresher.aclose()
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(obey(Life(sys.argv[1])))
