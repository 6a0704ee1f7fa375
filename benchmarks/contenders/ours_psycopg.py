"""rds_iam_async with psycopg."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from _load import Place, serve
from ours import ours
from sqlalchemy.ext.asyncio import AsyncEngine


def with_psycopg(place: Place) -> AbstractAsyncContextManager[AsyncEngine]:
    return ours(place, "postgresql+psycopg")


if __name__ == "__main__":
    serve(with_psycopg)
