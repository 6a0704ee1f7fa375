"""L11 to L13 for sync engines: what happens to one connection, with a driver made for the test."""

from __future__ import annotations

import asyncio
import ssl
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from rds_iam_async import (
    ConfigurationError,
    CredentialsError,
    Endpoint,
    RefreshPolicy,
    TokenUnavailableError,
)
from rds_iam_async._background import Background
from rds_iam_async._connect import Connector
from rds_iam_async._drivers import Said, driver_named
from rds_iam_async._limit import ConnectLimit
from rds_iam_async._sync_connect import InThread, at_once
from rds_iam_async._tls import Trust
from rds_iam_async._verification import Verification

from .test_connect import DIALLED, FakeTokens, OperationalError, RefusedError

CONTEXT = ssl.create_default_context()


class FakeServer:
    """Accepts what is in `good`; remembers what it was sent."""

    def __init__(self, *good: str) -> None:
        self.good = set(good)
        self.sent: list[str] = []
        self.kwargs: dict[str, Any] = {}
        self.error: Exception | None = None

    def connect(self, **kwargs: Any) -> str:
        self.kwargs = kwargs
        self.sent.append(str(kwargs["password"]))
        if self.error is not None:
            raise self.error
        if kwargs["password"] not in self.good:
            raise RefusedError("Access denied")
        return "a connection"


@pytest.fixture
def tokens(endpoint: Endpoint) -> FakeTokens:
    return FakeTokens(endpoint)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer("t1", "t2", "cold")


@pytest.fixture
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.stop(within=10)


@pytest.fixture
def connector(tokens: FakeTokens, server: FakeServer, background: Background) -> Connector:
    return made(tokens, server, background)


def made(
    tokens: FakeTokens,
    server: FakeServer,
    background: Background,
    *,
    built: bool = True,
    limit: ConnectLimit | None = None,
) -> Connector:
    driver = replace(
        driver_named("mysql+pymysql", is_async=False),
        connect=server.connect,
        is_refusal=lambda error: isinstance(error, RefusedError),
    )
    verification = Verification(driver, Trust(lambda: CONTEXT), Said())
    if built:
        verification.build()
    return Connector(
        tokens,
        driver=driver,
        verification=verification,
        dialled=DIALLED,
        operational_error=OperationalError,
        limit=limit,
        pace=InThread(background, RefreshPolicy()),
    )


def connect(connector: Connector, **cparams: Any) -> Any:
    """Do what SQLAlchemy does with a listener that returns a connection."""
    return connector.do_connect(None, None, [], {**DIALLED, **cparams})


def test_a_healthy_connect_reads_the_slot_and_begins_no_thread(
    connector: Connector, tokens: FakeTokens, server: FakeServer, background: Background
) -> None:
    """L11: no loop, no lock, nothing minted or asked."""
    assert connect(connector) == "a connection"
    assert tokens.calls == ["accepted"]
    assert server.sent == ["t1"]
    assert server.kwargs == {**DIALLED, "password": "t1", "ssl": CONTEXT}
    assert not background.alive


def test_without_a_usable_token_the_connect_joins_a_mint(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L12: instead of failing."""
    tokens.slot = None
    assert connect(connector) == "a connection"
    assert (tokens.calls, server.sent) == (["obtain", "accepted"], ["cold"])


@pytest.mark.anyio
async def test_in_the_thread_of_somebodys_event_loop_it_works_the_same(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """It blocks that loop, as any sync connect does, and waits for another one."""
    tokens.slot = None
    server.good = {"t2"}
    tokens.replacement = "t2"
    assert connect(connector) == "a connection"
    assert server.sent == ["cold", "t2"]


def test_when_no_token_can_be_had_it_is_an_operational_error(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L12: the dialect's own, with the reason in its chain; nothing was dialled."""
    tokens.slot = None
    tokens.cold = CredentialsError("no credentials found", hint="log in")
    with pytest.raises(OperationalError, match=r"no credentials found \(hint: log in\)") as caught:
        connect(connector)
    unavailable = caught.value.__cause__
    assert isinstance(unavailable, TokenUnavailableError)
    assert unavailable.__cause__ is tokens.cold
    assert server.sent == []


def test_a_refused_token_is_replaced_once_and_tried_once_more(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L13."""
    server.good.remove("t1")
    tokens.replacement = "t2"
    assert connect(connector) == "a connection"
    assert (tokens.calls, server.sent) == (["replace t1", "accepted"], ["t1", "t2"])


def test_a_second_refusal_is_the_drivers_own_error(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L13: bare, after exactly two attempts, without the first as its context."""
    server.good.clear()
    tokens.replacement = "t2"
    with pytest.raises(RefusedError) as caught:
        connect(connector)
    assert caught.value.__context__ is None
    assert server.sent == ["t1", "t2"]


def test_without_a_replacement_the_refusal_is_the_drivers_own_error(
    connector: Connector, server: FakeServer
) -> None:
    """L13: when forced mints back off, or none could be made."""
    server.good.clear()
    with pytest.raises(RefusedError, match="Access denied"):
        connect(connector)
    assert server.sent == ["t1"]


def test_a_refusal_while_the_refresher_is_closed_is_the_drivers_own_error(
    connector: Connector, tokens: FakeTokens, server: FakeServer, background: Background
) -> None:
    """L13, L19: not an error of ours, which nobody catches there."""
    server.good.clear()
    begun = threading.Event()

    async def hang(refused: str) -> str | None:
        begun.set()
        await asyncio.Event().wait()
        return None

    tokens.replace = hang  # type: ignore[method-assign]
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            connect(connector)
        except BaseException as error:
            raised.append(error)

    connecting = threading.Thread(target=attempt)
    connecting.start()
    begun.wait()
    background.stop(within=10)
    connecting.join(10)
    assert [type(error) for error in raised] == [RefusedError]


def test_other_errors_are_not_ours(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """One attempt, the driver's error."""
    server.error = ConnectionRefusedError("nobody there")
    with pytest.raises(ConnectionRefusedError):
        connect(connector)
    assert (tokens.calls, server.sent) == ([], ["t1"])


def test_trust_that_is_not_built_yet_is_built_before_the_token_leaves(
    tokens: FakeTokens, server: FakeServer, background: Background
) -> None:
    """L14: in lazy mode the first connection finds none."""
    assert connect(made(tokens, server, background, built=False)) == "a connection"
    assert server.kwargs["ssl"] is CONTEXT
    assert server.sent == ["cold"]  # never beside a token that was put before its TLS


def test_a_connect_waits_for_its_turn(
    tokens: FakeTokens, server: FakeServer, background: Background
) -> None:
    """And takes the token that is in the slot when its turn comes."""
    connector = made(tokens, server, background, limit=ConnectLimit(1000))
    assert connect(connector) == "a connection"
    assert background.alive  # who waits, waits there
    assert server.sent == ["t1"]


@pytest.mark.parametrize(
    ("cparams", "named"),
    [
        ({"password": "hunter2"}, "password of its own"),
        ({"host": "elsewhere"}, "host='elsewhere'"),
        ({"ssl": {"check_hostname": False}}, "ssl_check_hostname=False"),
    ],
)
def test_what_only_a_connection_shows_is_refused_before_anything_is_dialled(
    connector: Connector, server: FakeServer, cparams: dict[str, Any], named: str
) -> None:
    """L14, L15: whatever another listener put there."""
    with pytest.raises(ConfigurationError, match=named):
        connect(connector, **cparams)
    assert server.sent == []


def test_no_token_in_the_traceback_of_a_failed_connect(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L4: frames hold it in `kwargs`, `cparams`, `password`: all redacted."""
    tokens.slot = "very-secret-token"
    server.error = ConnectionResetError("gone")
    with pytest.raises(ConnectionResetError) as caught:
        connect(connector)
    shown = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert "<secret>" in shown
    assert "very-secret-token" not in shown


def test_a_step_that_waited_for_a_loop_would_be_a_bug_and_says_so() -> None:
    """There is nobody to wake it up."""

    class Never:
        def __await__(self) -> Iterator[None]:
            yield

    async def waits() -> None:
        await Never()

    with pytest.raises(AssertionError, match="waited for a loop"):
        at_once(waits())
