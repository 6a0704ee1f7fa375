"""aioboto3 as its README shows it: a client in an `async with`, for each connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aioboto3
import asyncpg
from _load import Place, serve
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[AsyncEngine]:
    session = aioboto3.Session()
    tls = place.tls()

    async def connect() -> Any:
        async with session.client("rds", region_name=place.region) as client:
            token = await client.generate_db_auth_token(place.host, place.port, place.user)
        return await asyncpg.connect(
            host=place.host,
            port=place.port,
            user=place.user,
            database=place.url.database,
            password=token,
            ssl=tls,
        )

    yield create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)


if __name__ == "__main__":
    serve(open_engine)
