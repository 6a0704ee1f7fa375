"""Signing for each connection, in the form that SQLAlchemy's documentation shows.

At its best: the boto3 client is made once, and the TLS context is shared.

Source:
    https://docs.sqlalchemy.org/en/20/core/engines.html#generating-dynamic-authentication-tokens
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import boto3
from _load import Place, serve
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(place.url, connect_args={"ssl": place.tls()}, poolclass=NullPool)
    client = boto3.client("rds", region_name=place.region)

    @event.listens_for(engine.sync_engine, "do_connect")
    def provide_token(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        cparams["password"] = client.generate_db_auth_token(place.host, place.port, place.user)

    yield engine


if __name__ == "__main__":
    serve(open_engine)
