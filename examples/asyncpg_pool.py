"""A plain asyncpg pool, without SQLAlchemy.

For whoever talks to asyncpg directly. The pool asks for the current token whenever it
opens a connection; connections that are open already outlive their tokens.

Run it:
    export PGHOST=mydb.abc.eu-west-1.rds.amazonaws.com PGUSER=app PGDATABASE=orders
    export AWS_REGION=eu-west-1 RDS_IAM_CA_FILE=global-bundle.pem
    python examples/asyncpg_pool.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import asyncpg

from rds_iam_async import Endpoint, TokenRefresher


@asynccontextmanager
async def open_pool(
    refresher: TokenRefresher, endpoint: Endpoint, database: str
) -> AsyncGenerator[asyncpg.Pool]:
    """Open a pool that logs in to *endpoint* with tokens minted ahead of need."""
    # Before start(), so that the first token is there, or its error known, before the pool.
    password = refresher.password(endpoint)
    async with (
        refresher,
        asyncpg.create_pool(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            database=database,
            password=password,
            ssl=refresher.tls(endpoint),
            min_size=1,
            max_size=10,
        ) as pool,
    ):
        yield pool


async def main() -> None:
    endpoint = Endpoint(
        host=os.environ["PGHOST"],
        port=int(os.environ.get("PGPORT", "5432")),
        user=os.environ["PGUSER"],
        region=os.environ["AWS_REGION"],
    )
    async with open_pool(TokenRefresher(), endpoint, os.environ["PGDATABASE"]) as pool:
        user = await pool.fetchval("SELECT current_user")
        print(f"logged in as {user}")


if __name__ == "__main__":
    asyncio.run(main())
