"""What the `do_connect` listener costs in steady state, against one that sets a constant.

Run it with `make bench`, or `python benchmarks/hot_path.py --fast`. The floor is the
constant: the promise is at most 1 µs above it. Signing, which everybody else does there,
stands beside it: with our own minter and with a boto3 client that is kept.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import boto3
import pyperf
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import Credentials, TokenRefresher
from rds_iam_async._mint import mint

URL = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"
KEYS = Credentials(
    access_key_id="ASIAEXAMPLEEXAMPLEEX",
    secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    session_token="IQoJb3JpZ2luX2Vj" * 60,
)


class Source:
    async def snapshot(self) -> Credentials:
        return KEYS


def constant(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
    cparams["password"] = "a static password"


def main() -> None:
    engine = create_async_engine(URL)
    refresher = TokenRefresher(engine, credentials=Source())
    asyncio.run(refresher.start())
    [ours] = engine.sync_engine.dialect.dispatch.do_connect
    endpoint = refresher.status().endpoints[0].endpoint
    client = boto3.Session(
        KEYS.access_key_id, KEYS.secret_access_key, KEYS.session_token, region_name="eu-west-1"
    ).client("rds")
    cparams = {"host": "mydb", "user": "app", "database": "orders"}

    def time_of(listener: Any) -> Any:
        def loops(number: int) -> float:
            began = time.perf_counter()
            for _ in range(number):
                listener(None, None, [], dict(cparams))
            return time.perf_counter() - began

        return loops

    runner = pyperf.Runner()
    runner.bench_time_func("listener: constant password", time_of(constant))
    runner.bench_time_func("listener: rds_iam_async", time_of(ours))
    runner.bench_func("signing: rds_iam_async's minter", lambda: mint(endpoint, KEYS, now=1e9))
    runner.bench_func(
        "signing: boto3, client kept",
        lambda: client.generate_db_auth_token(endpoint.host, endpoint.port, endpoint.user),
    )


if __name__ == "__main__":
    main()
