"""What the gate of the local RDS costs, so that you know what your tests measure.

Run it with `make bench`, or `python benchmarks/gate.py --quick`. The floor is PostgreSQL
ending TLS itself and asking for the password in the same way (`_direct_tls.py`); both are the
same binaries, each in a process of its own. Logins: one after the other, and eight at a time.
Rows: 100 bytes each, fetched by asyncpg over one connection.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from _direct_tls import DirectTls, binaries_with_tls
from _other_process import Elsewhere
from _results import write
from sqlalchemy.engine import make_url

from rds_iam_async import Endpoint, TokenRefresher
from rds_iam_async.testing._binaries import PG_BIN

ROWS = "select n, repeat('x', 96) from generate_series(1, $1) n"


@dataclass(frozen=True, kw_only=True)
class Load:
    """How much is done in one round."""

    rounds: int
    logins: int
    rows: int


FULL = Load(rounds=7, logins=80, rows=100_000)
QUICK = Load(rounds=3, logins=24, rows=20_000)

Connect = Callable[[], Awaitable[Any]]


async def logins_per_second(connect: Connect, number: int, *, at_once: int) -> float:
    async def some() -> None:
        for _ in range(number // at_once):
            connection = await connect()
            await connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(at_once)))
    return number / (time.perf_counter() - began)


async def rows_per_second(connect: Connect, number: int) -> float:
    connection = await connect()
    began = time.perf_counter()
    rows = await connection.fetch(ROWS, number)
    took = time.perf_counter() - began
    await connection.close()
    return len(rows) / took


async def through_gate(elsewhere: Elsewhere) -> Connect:
    """Return how to log in with an IAM token."""
    url = make_url(elsewhere.url)
    endpoint = Endpoint(
        host=str(url.host), port=url.port or 0, user=str(url.username), region="eu-west-1"
    )
    password = (await TokenRefresher().token(endpoint)).password
    tls = ssl.create_default_context(cafile=os.environ["RDS_IAM_CA_FILE"])

    async def connect() -> Any:
        return await asyncpg.connect(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            database=url.database,
            password=password,
            ssl=tls,
        )

    return connect


def directly(server: DirectTls) -> Connect:
    """Return how to log in with the superuser's password."""

    async def connect() -> Any:
        return await asyncpg.connect(
            host="localhost",
            port=server.port,
            user="postgres",
            database="postgres",
            password=server.password,
            ssl=server.tls,
        )

    return connect


async def rounds(ways: dict[str, Connect], load: Load) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, list[float]]] = {name: {} for name in ways}
    for _ in range(load.rounds):
        for name, connect in random.sample(list(ways.items()), len(ways)):
            figures = {
                "logins": await logins_per_second(connect, load.logins, at_once=1),
                "logins, eight at once": await logins_per_second(connect, load.logins, at_once=8),
                "rows": await rows_per_second(connect, load.rows),
            }
            for what, value in figures.items():
                found[name].setdefault(what, []).append(value)
    return {
        name: {what: round(statistics.median(values), 1) for what, values in of_way.items()}
        for name, of_way in found.items()
    }


async def measured(load: Load, binaries: Path) -> dict[str, dict[str, float]]:
    os.environ[PG_BIN] = str(binaries)
    with Elsewhere() as elsewhere, DirectTls(binaries) as server:
        os.environ.update(elsewhere.environment("static"))
        return await rounds(
            {"direct TLS": directly(server), "the gate": await through_gate(elsewhere)}, load
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    options = parser.parse_args()
    binaries = binaries_with_tls()
    if binaries is None:
        # The other benchmarks need none: `make bench` goes on.
        print("left out: no PostgreSQL with TLS in /usr/lib/postgresql to compare the gate with")
        return
    found = asyncio.run(measured(QUICK if options.quick else FULL, binaries))
    print(f"{'per second':24}" + "".join(f"{name:>14}" for name in found) + f"{'share':>10}")
    floor, gate = found.values()
    for what, value in floor.items():
        print(f"{what:24}{value:>14.0f}{gate[what]:>14.0f}{gate[what] / value:>10.0%}")
    write("gate", {"per_second": found}, quick=options.quick)


if __name__ == "__main__":
    main()
