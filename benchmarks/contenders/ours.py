"""rds_iam_async, as its README says."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager

from _load import Place, events, serve
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from rds_iam_async import RefreshPolicy, open_engine
from rds_iam_async.telemetry import Event, log_events


def to_scale(scale: float) -> RefreshPolicy:
    """Return the default policy for tokens whose life is shorter by *scale*.

    What costs as much as ever is not done as much more often: retries are not on that scale,
    but short enough for keys that live for seconds.
    """
    usual = RefreshPolicy()
    if scale == 1:
        return usual
    return RefreshPolicy(
        lifetime=usual.lifetime / scale,
        lead=usual.lead / scale,
        spread=usual.spread / scale,
        margin=usual.margin / scale,
        retry_base=0.1,
        retry_cap=0.5,
    )


def ours(place: Place, drivername: str) -> AbstractAsyncContextManager[AsyncEngine]:
    return open_engine(
        place.url.set(drivername=drivername),
        policy=to_scale(place.scale),
        observe=note,
        poolclass=NullPool,
    )


def note(event: Event) -> None:
    """Do what is done by default, and keep what happened for the profile."""
    log_events(event)
    events.append((type(event).__name__, time.monotonic()))


def with_asyncpg(place: Place) -> AbstractAsyncContextManager[AsyncEngine]:
    return ours(place, "postgresql+asyncpg")


if __name__ == "__main__":
    serve(with_asyncpg)
