"""A cache with a time-out: one token for 10 minutes, signed by whoever finds it too old."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import boto3
from _load import Place, serve
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

KEPT = 600.0


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(place.url, connect_args={"ssl": place.tls()}, poolclass=NullPool)
    client = boto3.client("rds", region_name=place.region)
    lock = threading.Lock()
    token, until = "", 0.0

    @event.listens_for(engine.sync_engine, "do_connect")
    def provide_token(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        nonlocal token, until
        with lock:
            if time.monotonic() >= until:
                token = client.generate_db_auth_token(place.host, place.port, place.user)
                until = time.monotonic() + KEPT / place.scale
        cparams["password"] = token

    yield engine


if __name__ == "__main__":
    serve(open_engine)
