"""The package sqlalchemy-rds-iam-auth-plugin with the `ssl_ca` of its README, and asyncpg."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from _load import Place, serve
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[AsyncEngine]:
    words = {"use_iam_auth": "true", "aws_region": place.region, "ssl_ca": place.ca_file}
    yield create_async_engine(
        place.url.update_query_dict(words), plugins=["rds_iam"], poolclass=NullPool
    )


if __name__ == "__main__":
    serve(open_engine)
