"""What it costs to begin: importing, the first token, the first connection.

Run it with `make bench`, or `python benchmarks/startup.py --quick`. Each figure is of a fresh
process, in turn with the others; medians. The floors:

- Import: what `sqlalchemy.ext.asyncio` and `asyncpg` cost already. The target is 15 ms more.
- First token: the RDS-client way, `aioboto3.Session().client("rds")`, from the import of the
  SDK to the token; keys come from STS. The target is a third of it. What both have to pay is
  the import of the SDK, which stands beside them; and no service model of RDS is to be read.
- First connection: the same two ways, through the gate of a local RDS.
- Worst loop stall on the way to the first token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from _results import write
from _ticker import Ticker

PROVIDERS = ("static", "container", "web-identity")
TARGETS = {"import_ms_above_floor": 15.0, "first_token_share": 1 / 3}

Found = dict[str, float]


def nothing() -> None:
    """The interpreter itself."""


def import_floor() -> None:
    import asyncpg  # noqa: F401
    import sqlalchemy.ext.asyncio  # noqa: F401


def import_ours() -> None:
    import_floor()
    import rds_iam_async  # noqa: F401


def import_sdk() -> None:
    import aioboto3  # noqa: F401


IMPORTS: dict[str, Callable[[], None]] = {
    "nothing": nothing,
    "SQLAlchemy's asyncio and asyncpg": import_floor,
    "and rds_iam_async": import_ours,
    "aioboto3 alone": import_sdk,
}


def cost_of_import(name: str) -> Found:
    before = resident()
    began = time.perf_counter()
    IMPORTS[name]()
    took = time.perf_counter() - began
    return {"ms": took * 1e3, "MiB": resident() - before}


def resident() -> float:
    """Return the memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def our_token() -> str:
    from sqlalchemy.ext.asyncio import create_async_engine

    from rds_iam_async import TokenRefresher

    engine = create_async_engine(os.environ["DATABASE_URL"])
    refresher = TokenRefresher()
    endpoint = refresher.attach(engine, token_host=engine.url.host)
    await refresher.start(timeout=60)
    token = str((await refresher.token(endpoint)).password)
    await refresher.aclose()
    return token


async def client_token() -> str:
    import aioboto3
    from sqlalchemy.engine import make_url

    url = make_url(os.environ["DATABASE_URL"])
    async with aioboto3.Session().client("rds") as client:
        token: str = await client.generate_db_auth_token(url.host, url.port, url.username)
    return token


async def our_connection() -> None:
    from sqlalchemy import text

    from rds_iam_async import open_engine

    url = os.environ["DATABASE_URL"]
    host = url.rpartition("@")[2].partition(":")[0]
    async with open_engine(url, token_host=host) as engine, engine.connect() as connection:
        await connection.execute(text("select 1"))


async def client_connection() -> None:
    import ssl

    import asyncpg
    from sqlalchemy.engine import make_url

    url = make_url(os.environ["DATABASE_URL"])
    connection = await asyncpg.connect(
        host=url.host,
        port=url.port,
        user=url.username,
        database=url.database,
        password=await client_token(),
        ssl=ssl.create_default_context(cafile=os.environ["RDS_IAM_CA_FILE"]),
    )
    await connection.execute("select 1")
    await connection.close()


async def the_sdk() -> None:
    import_sdk()


WAYS: dict[str, Callable[[], Awaitable[Any]]] = {
    "import of the SDK": the_sdk,
    "token, ours": our_token,
    "token, RDS client": client_token,
    "connection, ours": our_connection,
    "connection, RDS client": client_connection,
}


async def cost_of_way(name: str) -> Found:
    import_floor()  # any application has them
    began = time.perf_counter()
    await WAYS[name]()
    took = time.perf_counter() - began
    return {"ms": took * 1e3, "rds_model_read": float(read_rds_model())}


async def stall_of_way(name: str) -> Found:
    """Measured apart: a loop that ticks takes its share of the interpreter lock."""
    import_floor()
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    stall = await ticker.worst_during(WAYS[name]())
    ticking.cancel()
    return {"stall_ms": stall}


def read_rds_model() -> bool:
    """Tell whether the SDK has a service model of RDS in its hands: by who else would have it."""
    import gc

    return any(
        type(thing).__name__ == "ServiceModel" and thing.service_name == "rds"
        for thing in gc.get_objects()
    )


def measured(how: str, what: str, environment: dict[str, str]) -> Found:
    run = subprocess.run(
        [sys.executable, __file__, how, what],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: Found = json.loads(run.stdout)
    return found


def medians(runs: list[Found]) -> Found:
    return {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}


def rounds(number: int) -> dict[str, dict[str, Found]]:
    found: dict[str, dict[str, list[Found]]] = {
        "import": {name: [] for name in IMPORTS},
        **{provider: {name: [] for name in WAYS} for provider in PROVIDERS},
    }
    from _other_process import Elsewhere  # not in the processes that measure imports

    with Elsewhere() as elsewhere:
        elsewhere.set(lifetime=3600)
        for _ in range(number):
            for group, of_group in found.items():
                environment = dict(os.environ)
                if group != "import":
                    environment = elsewhere.environment(group) | {"DATABASE_URL": elsewhere.url}
                for name, runs in of_group.items():
                    run = measured("--measure", name, environment)
                    if group != "import":
                        run |= measured("--stall", name, environment)
                    runs.append(run)
    return {
        group: {name: medians(runs) for name, runs in of_group.items()}
        for group, of_group in found.items()
    }


def table(found: dict[str, dict[str, Found]]) -> None:
    for group, of_group in found.items():
        print(f"{group}:")
        for name, figures in of_group.items():
            cells = [f"{figures['ms']:8.0f} ms"]
            if "MiB" in figures:
                cells.append(f"{figures['MiB']:6.0f} MiB")
            else:
                cells.append(f"worst stall {figures['stall_ms']:6.0f} ms")
                cells.append("reads the RDS model" if figures["rds_model_read"] else "")
            print(f"  {name:36}" + "  ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--stall", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure in IMPORTS:
        print(json.dumps(cost_of_import(options.measure)))
    elif options.stall:
        print(json.dumps(asyncio.run(stall_of_way(options.stall))))
    elif options.measure:
        print(json.dumps(asyncio.run(cost_of_way(options.measure))))
    else:
        found = rounds(2 if options.quick else options.rounds)
        table(found)
        above = (
            found["import"]["and rds_iam_async"]["ms"]
            - found["import"]["SQLAlchemy's asyncio and asyncpg"]["ms"]
        )
        shares = {group: share_of_client(found[group]) for group in PROVIDERS}
        print(
            f"import: {above:.0f} ms above the floor (target: {TARGETS['import_ms_above_floor']})"
        )
        print(f"first token, share of the RDS client's way (target: a third): {shares}")
        summary = {"targets": TARGETS, "import_above": above, "token_share": shares}
        write("startup", {**summary, **found}, quick=options.quick)


def share_of_client(found: dict[str, Found]) -> dict[str, float]:
    """Return what our first token takes of the client's, with the SDK's import and without."""
    ours, theirs = found["token, ours"]["ms"], found["token, RDS client"]["ms"]
    imports = found["import of the SDK"]["ms"]
    return {
        "whole": round(ours / theirs, 2),
        "but the import": round((ours - imports) / (theirs - imports), 2),
    }


if __name__ == "__main__":
    main()
