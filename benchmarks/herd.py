"""20 connects at the moment at which the keys expire, and an endpoint that takes 300 ms.

Run it with `make bench`, or `.venv/bin/python benchmarks/herd.py --quick`. Ours stands beside
aiobotocore's own way: an `rds` client that is kept, asked for a token by each connect. The
keys live 5 minutes; below 10, botocore lets each reader fetch anew, one after the other.
What the same 20 connects cost with a token in hand is the machine's part: TLS handshakes
here, and PostgreSQL's logins, which share the cores with them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import aioboto3
import asyncpg
from _other_process import Elsewhere
from _results import is_partial, write
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import TokenRefresher

CONNECTS = 20
DELAY = 0.3
LIFETIME = 300.0

Way = Callable[[str], AbstractAsyncContextManager[AsyncEngine]]


@contextlib.asynccontextmanager
async def ours(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url, poolclass=NullPool)
    refresher = TokenRefresher()  # not started: nobody mints ahead of need
    refresher.attach(engine, token_host=make_url(url).host)
    yield engine
    await refresher.aclose()


@contextlib.asynccontextmanager
async def aiobotocores(url: str) -> AsyncIterator[AsyncEngine]:
    where = make_url(url)
    tls = ssl.create_default_context(cafile=os.environ["RDS_IAM_CA_FILE"])
    async with aioboto3.Session().client("rds") as client:

        async def connect() -> Any:
            token = await client.generate_db_auth_token(where.host, where.port, where.username)
            return await asyncpg.connect(
                host=where.host,
                port=where.port,
                user=where.username,
                database=where.database,
                password=token,
                ssl=tls,
            )

        yield create_async_engine(
            "postgresql+asyncpg://", poolclass=NullPool, async_creator=connect
        )


WAYS: dict[str, Way] = {"rds_iam_async": ours, "aiobotocore": aiobotocores}


async def slowest(engine: AsyncEngine, count: int) -> float:
    """Connect so many times at once; return how long the slowest took, in seconds."""

    async def connect() -> float:
        began = time.perf_counter()
        async with engine.connect() as connection:
            await connection.execute(text("select 1"))
            return time.perf_counter() - began

    return max(await asyncio.gather(*(connect() for _ in range(count))))


async def herd(way: Way, elsewhere: Elsewhere) -> dict[str, float]:
    """Let the keys expire, then connect: with none in hand, and once more with some."""
    elsewhere.set(lifetime=3)
    async with way(elsewhere.url) as engine:
        await slowest(engine, CONNECTS)  # an application that has been running for a while
        _, end = elsewhere.state()
        await asyncio.sleep(max(0.0, end - time.time()))
        elsewhere.set(lifetime=LIFETIME, delay=DELAY)
        cold = await slowest(engine, CONNECTS)
        fetches, _ = elsewhere.state()
        elsewhere.set(lifetime=LIFETIME)
        warm = await slowest(engine, CONNECTS)
    return {"fetches": fetches, "slowest": cold, "in_hand": warm}


async def rounds(number: int) -> dict[str, list[dict[str, float]]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with Elsewhere() as elsewhere:
        os.environ.update(elsewhere.environment("container"))
        for _ in range(number):
            for name, way in WAYS.items():
                found[name].append(await herd(way, elsewhere))
    return found


def table(found: dict[str, list[dict[str, float]]]) -> None:
    print(f"{CONNECTS} connects as the keys expire, endpoint {DELAY:g} s: medians (… the worst)")
    print(f"{'':16}{'fetches':>8}{'slowest connect':>24}{'the same, token in hand':>26}")
    for name, runs in found.items():
        fetches = statistics.median(run["fetches"] for run in runs)
        cold = [run["slowest"] for run in runs]
        cells = f"{statistics.median(cold):.2f} s (… {max(cold):.2f})"
        warm = f"{statistics.median(run['in_hand'] for run in runs):.2f} s"
        print(f"{name:16}{fetches:>8.0f}{cells:>24}{warm:>26}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = asyncio.run(rounds(1 if options.quick else options.rounds))
    table(found)
    write(
        "herd",
        {"connects": CONNECTS, "delay": DELAY, "runs": found},
        quick=is_partial(parser, options),
    )


if __name__ == "__main__":
    main()
