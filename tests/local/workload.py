"""What the local tests have in common: keys that come and go, and load that counts."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from rds_iam_async import Credentials
from rds_iam_async.testing import LocalRds


class RoleSession:
    """A `CredentialSource` that issues a new role session for each look, known to the server."""

    provider = "role-session"

    def __init__(self, rds: LocalRds, *, lifetime: float = 3600.0) -> None:
        self.rds = rds
        self.lifetime = lifetime
        self.issued: list[str] = []

    async def snapshot(self) -> Credentials:
        keys = Credentials(
            access_key_id="ASIA" + secrets.token_hex(8).upper(),
            secret_access_key=secrets.token_urlsafe(30),
            session_token=secrets.token_urlsafe(600),
            expires_at=time.time() + self.lifetime,
        )
        self.rds.trust(keys)
        self.issued.append(keys.access_key_id)
        return keys


@dataclass
class Tally:
    """What became of a load."""

    connects: int = 0
    errors: list[str] = field(default_factory=list)


async def one_connect(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert (await connection.execute(text("select 1"))).scalar_one() == 1


PACE = 0.1
"""How often each worker connects, in seconds: a steady load that leaves the machine usable."""


async def load(engine: AsyncEngine, *, seconds: float, workers: int = 3) -> Tally:
    """Open new connections for *seconds*; use it with `poolclass=NullPool`."""
    tally = Tally()
    end = time.monotonic() + seconds

    async def worker() -> None:
        while time.monotonic() < end:
            try:
                await one_connect(engine)
                tally.connects += 1
            except Exception as error:
                tally.errors.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(PACE)

    await asyncio.gather(*(worker() for _ in range(workers)))
    return tally


def outcomes(rds: LocalRds) -> dict[str, int]:
    """Return how many logins ended how."""
    counts: dict[str, int] = {}
    for login in rds.log:
        counts[login.outcome] = counts.get(login.outcome, 0) + 1
    return counts
