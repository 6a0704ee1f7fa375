"""A static password as PostgreSQL has it: the server asks for SCRAM, the gate only passes it on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from _load import Place, serve
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[AsyncEngine]:
    user, _, password = os.environ["BENCH_PASSWORD_USER"].partition(":")
    url = place.url.set(username=user, password=password)
    yield create_async_engine(url, connect_args={"ssl": place.tls()}, poolclass=NullPool)


if __name__ == "__main__":
    serve(open_engine)
