"""A static password with psycopg: the floor for who uses that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from _load import Place, serve
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[AsyncEngine]:
    url = place.url.set(drivername="postgresql+psycopg", password=place.password)
    tls = {"sslmode": "verify-full", "sslrootcert": place.ca_file}
    yield create_async_engine(url, connect_args=tls, poolclass=NullPool)


if __name__ == "__main__":
    serve(open_engine)
