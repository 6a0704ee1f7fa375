"""An engine that any loop may use, with its refresher in a thread of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from .. import RefreshPolicy, TokenRefresher
from .._loop_thread import LoopThread
from ..testing import LocalRds


@contextlib.contextmanager
def started_engine(rds: LocalRds) -> Generator[AsyncEngine]:
    """Hold open an engine on *rds* whose tokens are minted ahead of need.

    A fixture that is not async can do this, so it works under every async plugin, and
    without any: the refresher's loop is in a thread of its own, and reading the slot needs
    none. `NullPool` because a pooled connection belongs to the loop that opened it, which is
    closed before a fixture's end; so each use of the engine is a login, too.

    Args:
        rds: A running one; its `token_lifetime` is what tokens are used for.

    Yields:
        The engine, with the first token minted.
    """
    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = TokenRefresher(
        credentials=rds,
        region=rds.region,
        ca_file=rds.ca_file,
        policy=RefreshPolicy(lifetime=rds.token_lifetime),
    )
    refresher.attach(engine, token_host=rds.host)
    thread = LoopThread("rds_iam_engine")
    try:
        thread.run(refresher.start())
        yield engine
    finally:
        thread.run(refresher.aclose())
        thread.stop()
