"""The package aws-advanced-python-wrapper: AWS's own, its plugin `iam` alone, with psycopg."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from _load import Place, serve
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

KEPT = 900
"""Its default for `iam_expiration`, in seconds."""


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[AsyncEngine]:
    url = place.url.set(drivername="postgresql+aws_wrapper_psycopg").update_query_dict(
        {
            "wrapper_dialect": "rds-pg",
            "wrapper_plugins": "iam",
            "iam_expiration": str(round(KEPT / place.scale)),
            "sslmode": "verify-full",
            "sslrootcert": place.ca_file,
        }
    )
    yield create_async_engine(url, poolclass=NullPool)


if __name__ == "__main__":
    serve(open_engine)
