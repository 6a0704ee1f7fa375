"""A static password, which the gate checks as it checks a token: the floor.

It is a token of a role session that is never revoked, as long as the others' tokens, so that
the gate and PostgreSQL do exactly what they do for those. What a password that PostgreSQL
itself checks costs is shown by `scram`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from _load import Place, serve
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[AsyncEngine]:
    url = place.url.set(password=place.password)
    yield create_async_engine(url, connect_args={"ssl": place.tls()}, poolclass=NullPool)


if __name__ == "__main__":
    serve(open_engine)
