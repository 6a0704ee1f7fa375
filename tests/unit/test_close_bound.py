"""L19: closing takes 2 s at most, by the loop's own time, whatever does not want to end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import Credentials, CredentialsError, Endpoint, TokenRefresher
from rds_iam_async.testing import FakeClock

from .virtual_time import WITHOUT_WAITING

pytestmark = pytest.mark.anyio

URL = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"


@pytest.fixture
def anyio_backend() -> Any:
    return WITHOUT_WAITING


class Stubborn:
    """Is asked for keys, and does not hear that nobody wants them any more."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.over = asyncio.Event()
        self.cancelled = 0

    async def snapshot(self) -> Credentials:
        self.asked.set()
        while not self.over.is_set():
            try:
                await self.over.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
        raise CredentialsError("it is over")


async def test_a_source_that_does_not_end_is_left_behind_in_time() -> None:
    """One of an engine, and one of an endpoint that is not attached: each has a part of it."""
    of_engine, of_token = Stubborn(), Stubborn()
    engine = create_async_engine(URL)
    refresher = TokenRefresher(credentials=of_token, clock=FakeClock())
    refresher.attach(engine, credentials=of_engine)
    other = Endpoint(host="other.local", port=5432, user="app", region="eu-west-1")
    waiting = [
        asyncio.ensure_future(refresher.start()),
        asyncio.ensure_future(refresher.token(other)),
    ]
    await of_engine.asked.wait()
    await of_token.asked.wait()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await refresher.aclose()
    took, left_linked = loop.time() - began, bool(engine.sync_engine.dialect.dispatch.do_connect)
    told = of_engine.cancelled
    of_engine.over.set()
    of_token.over.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert 1.5 <= took <= 2.01  # the turns of the loop take a little
    assert not left_linked
    assert told > 0
