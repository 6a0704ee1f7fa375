"""What the `do_connect` listener costs in steady state, in nanoseconds, by pyperf.

Run it with `make bench`, or `.venv/bin/python benchmarks/hot_path.py --quick`. The floor is
a listener that sets a constant password: the promise is at most 1 µs above it, and at least
100 times cheaper than signing. Beside it stand the ways in which it is done elsewhere: a TTL
cache under a lock, signing with a boto3 client that is kept, a new client for each connection. And
our own minter, which no connection waits for. They are measured one after the other.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import boto3
import pyperf
from _results import write
from _targets import HOT_PATH
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import Credentials, TokenRefresher
from rds_iam_async._mint import mint

URL = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"
KEYS = Credentials(
    access_key_id="ASIAEXAMPLEEXAMPLEEX",
    secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    session_token="IQoJb3JpZ2luX2Vj" * 60,
)

Listener = Callable[[Any, Any, Any, dict[str, Any]], None]


class Source:
    async def snapshot(self) -> Credentials:
        return KEYS


def constant(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
    cparams["password"] = "a static password"


class CachedUnderALock:
    """A token with the time of its making, under a lock: as most recipes have it."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._token: str | None = None
        self._made_at = 0.0

    def __call__(self, dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        with self._lock:
            if self._token is None or time.time() - self._made_at > 600:
                self._token, self._made_at = self._make(), time.time()
            cparams["password"] = self._token


def listeners() -> dict[str, Listener]:
    """Return what is compared; each sets a password that the server would take."""
    engine = create_async_engine(URL)
    refresher = TokenRefresher(engine, credentials=Source())
    asyncio.run(refresher.start())
    [ours] = engine.sync_engine.dialect.dispatch.do_connect
    endpoint = refresher.status().endpoints[0].endpoint
    session = boto3.Session(
        KEYS.access_key_id, KEYS.secret_access_key, KEYS.session_token, region_name="eu-west-1"
    )
    kept = session.client("rds")

    def signed(client: Any) -> str:
        token: str = client.generate_db_auth_token(endpoint.host, endpoint.port, endpoint.user)
        return token

    def signing(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        cparams["password"] = signed(kept)

    def new_client(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        cparams["password"] = signed(session.client("rds"))

    def minting(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        cparams["password"] = mint(endpoint, KEYS, now=1e9).password

    return {
        "constant password": constant,
        "rds_iam_async": ours,
        "TTL cache under a lock": CachedUnderALock(lambda: signed(kept)),
        "our minter (no connection does that)": minting,
        "boto3, client kept": signing,
        "boto3, a new client for each": new_client,
    }


def time_of(listener: Listener) -> Callable[[int], float]:
    """Return how pyperf is to time it: each time with the fresh dictionary that it is given."""
    cparams = {"host": "mydb", "user": "app", "database": "orders"}

    def loops(number: int) -> float:
        began = time.perf_counter()
        for _ in range(number):
            listener(None, None, [], dict(cparams))
        return time.perf_counter() - began

    return loops


def main() -> None:
    partial = len(sys.argv) > 1  # any option of pyperf changes what is measured, or how often
    if "--quick" in sys.argv:
        sys.argv[sys.argv.index("--quick")] = "--fast"
    runner = pyperf.Runner()
    found = {name: runner.bench_time_func(name, time_of(one)) for name, one in listeners().items()}
    if runner.args.worker:
        return
    seconds = {name: benchmark.median() for name, benchmark in found.items()}
    above = seconds["rds_iam_async"] - seconds["constant password"]
    below = seconds["boto3, client kept"] / seconds["rds_iam_async"]
    print(f"above the constant: {above * 1e9:.0f} ns (target: {HOT_PATH['above'] * 1e9:.0f})")
    print(f"cheaper than signing: {below:.0f} times (target: {HOT_PATH['times_cheaper']:.0f})")
    write(
        "hot_path",
        {"targets": HOT_PATH, "seconds": seconds, "above": above, "times_cheaper": below},
        quick=partial,
    )


if __name__ == "__main__":
    main()
