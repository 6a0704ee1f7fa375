"""The package sqlalchemy-rdsiam: a dialect of its own, by the URL alone.

Arguments for TLS pass through its URL; an `SSLContext` cannot, so each connection reads the
certificates anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from _load import Place, serve
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[AsyncEngine]:
    url = place.url.set(drivername="postgresql+asyncpgrdsiam").update_query_dict(
        {
            "aws_region_name": place.region,
            "sslmode": "verify-full",
            "sslrootcert": place.ca_file,
        }
    )
    yield create_async_engine(url, poolclass=NullPool)


if __name__ == "__main__":
    serve(open_engine)
