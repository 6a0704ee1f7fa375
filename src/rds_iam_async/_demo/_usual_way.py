"""The usual way: a `do_connect` listener in which a boto3 client signs for each connection.

It is the form that SQLAlchemy's documentation shows, at its best: the client is made
once, and the TLS context is verified and shared.

Source:
    https://docs.sqlalchemy.org/en/20/core/engines.html#generating-dynamic-authentication-tokens
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import AsyncGenerator
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from .._token import Endpoint
from ._stage import Tally


@contextlib.asynccontextmanager
async def open_usual_way(
    url: str, endpoint: Endpoint, *, session: Any, tls: ssl.SSLContext, tally: Tally
) -> AsyncGenerator[AsyncEngine]:
    """Open an engine that signs on the connect path; each signature is counted and timed."""
    client = session.client("rds")
    engine = create_async_engine(url, connect_args={"ssl": tls}, poolclass=NullPool)

    def sign(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        began = time.perf_counter()
        cparams["password"] = client.generate_db_auth_token(
            DBHostname=endpoint.host,
            Port=endpoint.port,
            DBUsername=endpoint.user,
            Region=endpoint.region,
        )
        tally.note_signature(waited=time.perf_counter() - began)
        tally.minted += 1

    event.listen(engine.sync_engine, "do_connect", sign)
    try:
        yield engine
    finally:
        await engine.dispose()
