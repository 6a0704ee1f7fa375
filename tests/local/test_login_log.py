"""The log of logins is of the test that reads it, whatever those before it left behind."""

from __future__ import annotations

import socket

import pytest

from rds_iam_async.testing import LocalRds

from .conftest import Client

pytestmark = pytest.mark.anyio


async def test_a_client_that_gives_up_after_the_log_was_cleared_is_not_in_it(
    rds: LocalRds, client: Client
) -> None:
    """A connection that one test left half open must not be counted in the next."""
    with socket.create_connection(("127.0.0.1", rds.port), timeout=15) as early:
        await client.ask("select 1")  # the gate accepts in order: it has `early`, too
        rds.log.clear()
        early.shutdown(socket.SHUT_WR)
        assert early.recv(1) == b""  # hung up: what there is to be noted is noted
    assert list(rds.log) == []


async def test_a_client_that_gives_up_is_in_it_otherwise(rds: LocalRds) -> None:
    """The test above can fail."""
    with socket.create_connection(("127.0.0.1", rds.port), timeout=15) as early:
        early.shutdown(socket.SHUT_WR)
        assert early.recv(1) == b""
    assert [login.outcome for login in rds.log] == ["dropped"]
