"""One way to begin, in a process of its own: what it took, as a line of JSON.

All ways begin where an application stands: SQLAlchemy's asyncio and asyncpg are imported, and
its engine is made.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from _ticker import Ticker

Found = dict[str, float]
Way = Callable[[Any], Awaitable[Any]]

UNKNOWN = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"


def import_floor() -> None:
    import asyncpg  # noqa: F401
    import sqlalchemy.ext.asyncio  # noqa: F401


def import_package() -> None:
    import rds_iam_async  # noqa: F401


def import_refresher() -> None:
    from rds_iam_async import TokenRefresher  # noqa: F401


def import_ours() -> None:
    from rds_iam_async import TokenRefresher

    TokenRefresher(made_engine())


def import_anyio() -> None:
    import_ours()
    import anyio

    async def use() -> None:
        anyio.Event()

    asyncio.run(use())


def import_sdk() -> None:
    import aiobotocore.session  # noqa: F401


def import_aioboto3() -> None:
    import aioboto3  # noqa: F401


def import_botocore() -> None:
    import botocore.session  # noqa: F401


NAMES_ALONE = "`import rds_iam_async`: names, nothing behind them"
IMPORTS: dict[str, Callable[[], None]] = {
    NAMES_ALONE: import_package,
    "`from rds_iam_async import TokenRefresher`": import_refresher,
    "the same, and an engine attached": import_ours,
    "the same, and what `start()` uses of anyio": import_anyio,
    "`import botocore.session`": import_botocore,
    "`import aiobotocore.session`: the SDK, for us": import_sdk,
    "`import aioboto3`: the SDK, for an RDS client": import_aioboto3,
}
"""Each on top of what SQLAlchemy's asyncio and asyncpg, and an engine, have imported."""


def made_engine() -> Any:
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(os.environ.get("DATABASE_URL", UNKNOWN))


async def our_token(engine: Any) -> None:
    await _our_token(engine, session=None)


async def our_token_by_botocore(engine: Any) -> None:
    import botocore.session

    await _our_token(engine, session=botocore.session.get_session())


async def _our_token(engine: Any, *, session: Any) -> None:
    from rds_iam_async import Endpoint, TokenRefresher

    url = engine.url
    endpoint = Endpoint(
        host=url.host, port=url.port, user=url.username, region=os.environ["AWS_REGION"]
    )
    assert (await TokenRefresher(session=session).token(endpoint)).password


async def our_start(engine: Any) -> None:
    from rds_iam_async import TokenRefresher

    refresher = TokenRefresher()
    refresher.attach(engine, token_host=engine.url.host)
    await refresher.start(timeout=60)


async def client_token(engine: Any) -> str:
    import aioboto3

    url = engine.url
    async with aioboto3.Session().client("rds") as client:
        token: str = await client.generate_db_auth_token(url.host, url.port, url.username)
    return token


async def our_connection(engine: Any) -> None:
    from sqlalchemy import text

    await our_start(engine)
    async with engine.connect() as connection:
        await connection.execute(text("select 1"))


async def client_connection(engine: Any) -> None:
    import ssl

    from sqlalchemy import event, text

    token = await client_token(engine)
    trust = ssl.create_default_context()
    trust.load_verify_locations(cafile=os.environ["RDS_IAM_CA_FILE"])

    @event.listens_for(engine.sync_engine, "do_connect")
    def give(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        cparams.update(password=token, ssl=trust)

    async with engine.connect() as connection:
        await connection.execute(text("select 1"))


TOKENS: dict[str, Way] = {
    "token, ours": our_token,
    "token, ours, by botocore": our_token_by_botocore,
    "token, RDS client": client_token,
}
STARTS: dict[str, Way] = {"engine started, ours": our_start}
"""The first token, and the roots that the server is verified by: ready to connect."""

CONNECTIONS: dict[str, Way] = {
    "connection, ours": our_connection,
    "connection, RDS client": client_connection,
}
WAYS = TOKENS | STARTS | CONNECTIONS


def cost_of_floor() -> Found:
    def begin() -> None:
        import_floor()
        made_engine()

    return timed(begin)


def cost_of_import(name: str) -> Found:
    import_floor()
    made_engine()
    return timed(IMPORTS[name])


def timed(work: Callable[[], object]) -> Found:
    memory, cpu, began = resident(), time.process_time(), time.perf_counter()
    work()
    took, worked = time.perf_counter() - began, time.process_time() - cpu
    return {"ms": took * 1e3, "cpu_ms": worked * 1e3, "MiB": resident() - memory}


def resident() -> float:
    """Return the memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def cost_of_way(name: str) -> Found:
    import_floor()
    engine = made_engine()
    cpu, began = time.process_time(), time.perf_counter()
    await WAYS[name](engine)
    took, worked = time.perf_counter() - began, time.process_time() - cpu
    return {"ms": took * 1e3, "cpu_ms": worked * 1e3, "rds_model_read": float(read_rds_model())}


async def stall_of_way(name: str) -> Found:
    """Measured apart: a loop that ticks takes its share of the interpreter lock."""
    import_floor()
    engine = made_engine()
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    stall = await ticker.worst_during(WAYS[name](engine))
    ticking.cancel()
    return {"stall_ms": stall}


def read_rds_model() -> bool:
    """Tell whether the SDK has a service model of RDS in its hands: by who else would have it."""
    import gc

    return any(
        type(thing).__name__ == "ServiceModel" and thing.service_name == "rds"
        for thing in gc.get_objects()
    )


def main(how: str, what: str) -> None:
    match how:
        case "floor":
            found = cost_of_floor()
        case "import":
            found = cost_of_import(what)
        case "way":
            found = asyncio.run(cost_of_way(what))
        case _:
            found = asyncio.run(stall_of_way(what))
    print(json.dumps(found), flush=True)
    os._exit(0)  # how a process ends is not what is measured


if __name__ == "__main__":
    main(*sys.argv[1:])
