"""L11 to L13: what happens to one connection, with a driver made for the test."""

from __future__ import annotations

import ssl
import traceback
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import (
    ConfigurationError,
    CredentialsError,
    Endpoint,
    Token,
    TokenUnavailableError,
)
from rds_iam_async._connect import Connector
from rds_iam_async._drivers import Driver, Said, driver_named
from rds_iam_async._tls import Trust
from rds_iam_async._token import Secret
from rds_iam_async._verification import Verification

pytestmark = pytest.mark.anyio

DIALLED = {"host": "db", "port": 5432, "user": "app"}
CONTEXT = ssl.create_default_context()


class RefusedError(Exception):
    sqlstate = "28000"


class OperationalError(Exception):
    pass


class FakeServer:
    """Accepts what is in `good`; remembers what it was sent."""

    def __init__(self, *good: str) -> None:
        self.good = set(good)
        self.sent: list[str] = []
        self.kwargs: dict[str, Any] = {}
        self.error: Exception | None = None

    async def connect(self, **kwargs: Any) -> str:
        self.kwargs = kwargs
        self.sent.append(str(kwargs["password"]))
        if self.error is not None:
            raise self.error
        if kwargs["password"] not in self.good:
            raise RefusedError("PAM authentication failed")
        return "a connection"


class FakeTokens:
    """What the connector is given: a slot, and what to do when it is empty or refused."""

    def __init__(self, endpoint: Endpoint, slot: str | None = "t1") -> None:
        self.endpoint = endpoint
        self.slot = slot
        self.cold: str | Exception = "cold"
        self.replacement: str | None = None
        self.calls: list[str] = []

    def read(self) -> str | None:
        return None if self.slot is None else Secret(self.slot)

    async def obtain(self) -> Token:
        self.calls.append("obtain")
        if isinstance(self.cold, Exception):
            raise self.cold
        return Token(endpoint=self.endpoint, password=self.cold, minted_at=0.0, expires_at=900.0)

    async def replace(self, refused: str) -> str | None:
        self.calls.append(f"replace {refused}")
        return self.replacement

    def accepted(self, password: str) -> None:
        self.calls.append("accepted")


@pytest.fixture
def tokens(endpoint: Endpoint) -> FakeTokens:
    return FakeTokens(endpoint)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer("t1", "t2", "cold")


@pytest.fixture
def connector(tokens: FakeTokens, server: FakeServer) -> Connector:
    driver = replace(
        driver_named("postgresql+asyncpg", is_async=True),
        connect=server.connect,
        is_refusal=lambda error: isinstance(error, RefusedError),
    )
    return made(tokens, driver)


def made(tokens: FakeTokens, driver: Driver, trust: Any = CONTEXT) -> Connector:
    verification = Verification(driver, Trust(lambda: trust), Said())
    verification.build()
    return Connector(
        tokens,
        driver=driver,
        verification=verification,
        dialled=DIALLED,
        operational_error=OperationalError,
    )


async def connect(connector: Connector, **cparams: Any) -> Any:
    """Do what SQLAlchemy does: the listener, then the dialect's `async_creator_fn`."""
    cparams = {**DIALLED, **cparams}
    connector.do_connect(None, None, [], cparams)
    return await cparams.pop("async_creator_fn")(**cparams)


async def test_a_healthy_connect_reads_the_slot_and_does_nothing_else(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L11: nothing is awaited, minted or asked."""
    assert await connect(connector) == "a connection"
    assert tokens.calls == ["accepted"]
    assert server.sent == ["t1"]


def test_the_listener_does_three_dictionary_writes_and_no_await(connector: Connector) -> None:
    """L11: it is called outside any loop here, so that an await would fail."""

    class Counting(dict[str, Any]):
        writes = 0

        def __setitem__(self, key: str, value: Any) -> None:
            self.writes += 1
            super().__setitem__(key, value)

        def setdefault(self, key: str, value: Any = None) -> Any:
            self.writes += 1
            return super().setdefault(key, value)

    cparams = Counting(DIALLED)
    assert connector.do_connect(None, None, [], cparams) is None  # type: ignore[func-returns-value]
    assert cparams.writes == 3
    assert set(cparams) - set(DIALLED) == {"password", "ssl", "async_creator_fn"}


async def test_the_shared_context_goes_with_every_connection(
    connector: Connector, server: FakeServer
) -> None:
    """L14: a string would make asyncpg build one for each, a default send the token in clear."""
    await connect(connector)
    assert server.kwargs["ssl"] is CONTEXT


async def test_a_verifying_context_of_the_engine_is_kept(
    connector: Connector, server: FakeServer
) -> None:
    """It does not weaken anything, and the caller may have client certificates in it."""
    own = ssl.create_default_context()
    await connect(connector, ssl=own)
    assert server.kwargs["ssl"] is own


async def test_without_a_usable_token_the_connect_joins_a_mint(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L12: instead of failing."""
    tokens.slot = None
    assert await connect(connector) == "a connection"
    assert (tokens.calls, server.sent) == (["obtain", "accepted"], ["cold"])


async def test_when_no_token_can_be_had_it_is_an_operational_error(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L12: the dialect's own, with the reason in its chain; nothing was dialled."""
    tokens.slot = None
    tokens.cold = CredentialsError("no credentials found", hint="log in")
    with pytest.raises(OperationalError, match=r"no credentials found \(hint: log in\)") as caught:
        await connect(connector)
    unavailable = caught.value.__cause__
    assert isinstance(unavailable, TokenUnavailableError)
    assert unavailable.__cause__ is tokens.cold
    assert server.sent == []


async def test_a_refused_token_is_replaced_once_and_tried_once_more(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L13."""
    server.good.remove("t1")
    tokens.replacement = "t2"
    assert await connect(connector) == "a connection"
    assert (tokens.calls, server.sent) == (["replace t1", "accepted"], ["t1", "t2"])


async def test_a_second_refusal_is_the_drivers_own_error(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L13: bare, after exactly two attempts, without the first as its context."""
    server.good.clear()
    tokens.replacement = "t2"
    with pytest.raises(RefusedError) as caught:
        await connect(connector)
    assert caught.value.__context__ is None
    assert server.sent == ["t1", "t2"]


async def test_without_a_replacement_the_refusal_is_the_drivers_own_error(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L13: when forced mints back off, or none could be made."""
    server.good.clear()
    with pytest.raises(RefusedError, match="PAM"):
        await connect(connector)
    assert server.sent == ["t1"]


async def test_other_errors_are_not_ours(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """A server that is down, a full one, a missing database: one attempt, the driver's error."""
    server.error = ConnectionRefusedError("nobody there")
    with pytest.raises(ConnectionRefusedError):
        await connect(connector)
    assert (tokens.calls, server.sent) == ([], ["t1"])


async def test_a_failed_verification_says_where_to_get_the_bundle(
    connector: Connector, server: FakeServer
) -> None:
    """L14: the type is kept, the advice is in the message."""
    server.error = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"global-bundle\.pem") as caught:
        await connect(connector)
    assert "self-signed" in str(caught.value)
    assert caught.value.__cause__ is server.error


@pytest.mark.parametrize(
    ("cparams", "named"),
    [
        ({"password": "hunter2"}, "password of its own"),
        ({"host": "elsewhere"}, "host='elsewhere'"),
        ({"port": 6543}, "port=6543"),
        ({"user": "root"}, "user='root'"),
        ({"ssl": "prefer"}, "ssl='prefer'"),
        ({"ssl": False}, "ssl=False"),
        ({"ssl": ssl._create_unverified_context()}, "does not verify"),
    ],
)
async def test_what_only_a_connection_shows_is_refused_before_anything_is_dialled(
    connector: Connector, server: FakeServer, cparams: dict[str, Any], named: str
) -> None:
    """L14, L15: whatever another listener put there."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        await connect(connector, **cparams)
    assert server.sent == []
    assert "hunter2" not in str(caught.value)


async def test_another_listeners_creator_is_used(connector: Connector, server: FakeServer) -> None:
    """Instrumentation that set `async_creator_fn` before us goes on to work."""
    seen = []

    async def instrumented(**kwargs: Any) -> Any:
        seen.append("instrumented")
        return await server.connect(**kwargs)

    assert await connect(connector, async_creator_fn=instrumented) == "a connection"
    assert seen == ["instrumented"]


async def test_no_token_in_the_traceback_of_a_failed_connect(
    connector: Connector, tokens: FakeTokens, server: FakeServer
) -> None:
    """L4: frames hold it in `kwargs`, `cparams`, `password`: all redacted."""
    tokens.slot = "very-secret-token"
    server.error = ConnectionResetError("gone")
    with pytest.raises(ConnectionResetError) as caught:
        await connect(connector)
    shown = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert "<secret>" in shown
    assert "very-secret-token" not in shown


async def test_sqlalchemy_still_takes_the_creator_argument() -> None:
    """`async_creator_fn` is no documented name: this fails on the release that drops it."""
    engine = create_async_engine("postgresql+asyncpg://app@db/x")

    async def creator(**kwargs: Any) -> Any:
        raise LookupError("called")

    @event.listens_for(engine.sync_engine, "do_connect")
    def put(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        cparams["async_creator_fn"] = creator

    with pytest.raises(LookupError, match="called"):
        await engine.connect()
