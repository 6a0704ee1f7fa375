"""rds_iam_async, as its README says."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from _load import Place, serve
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from rds_iam_async import RefreshPolicy, open_engine


def to_scale(scale: float) -> RefreshPolicy:
    """Return the default policy for tokens whose life is shorter by *scale*; waits are not."""
    usual = RefreshPolicy()
    return RefreshPolicy(
        lifetime=usual.lifetime / scale,
        lead=usual.lead / scale,
        spread=usual.spread / scale,
        margin=usual.margin / scale,
        retry_base=usual.retry_base / scale,
        retry_cap=usual.retry_cap / scale,
    )


def ours(place: Place, drivername: str) -> AbstractAsyncContextManager[AsyncEngine]:
    return open_engine(
        place.url.set(drivername=drivername), policy=to_scale(place.scale), poolclass=NullPool
    )


def with_asyncpg(place: Place) -> AbstractAsyncContextManager[AsyncEngine]:
    return ours(place, "postgresql+asyncpg")


if __name__ == "__main__":
    serve(with_asyncpg)
