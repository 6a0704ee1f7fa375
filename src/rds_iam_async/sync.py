"""IAM tokens for SQLAlchemy's sync engines: the same slot and schedule, in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Callable, Generator
from functools import partial
from types import TracebackType
from typing import Any, Self

from sqlalchemy import URL, Engine, create_engine

from ._background import Background
from ._clock import Clock
from ._credentials import CredentialSource
from ._errors import MintError
from ._inspect import check_options, check_url, checked_sync, parsed
from ._password import BlockingPassword
from ._schedule import RefreshPolicy
from ._status import Status
from ._sync_connect import SLACK, InThread, patience
from ._token import Endpoint, Token
from ._wiring import Wiring, check_timeout
from .telemetry import Observer, log_events

__all__ = ["ThreadedRefresher", "open_engine"]

_DEFAULT_POLICY = RefreshPolicy()

_FAREWELL = 2.0
"""The bound on closing, in seconds."""


class ThreadedRefresher:
    """Keeps a usable IAM token ready for every sync engine attached to it.

    What `TokenRefresher` is for async engines. Its loop runs in one daemon thread, begun by
    `start()`, else by the first connection that finds no token. Connections that find one
    read it without a lock, from any thread. After a fork the child has a thread of its own,
    begun by its first connection; nothing has to be done for that.

    `do_connect` listeners of your own have to be registered before an engine is attached:
    ours opens the connection, and SQLAlchemy calls none after the one that does.

    Example:
        ```python
        refresher = ThreadedRefresher(engine)
        with refresher:
            with engine.connect() as connection: ...
        ```
    """

    def __init__(
        self,
        *engines: Engine,
        session: Any = None,
        credentials: CredentialSource | None = None,
        region: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        tls: ssl.SSLContext | None = None,
        policy: RefreshPolicy = _DEFAULT_POLICY,
        observe: Observer = log_events,
        max_connects_per_second: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Attach *engines*; nothing is read or sent yet, and no thread begun.

        Args:
            engines: Made by `create_engine` from `postgresql+psycopg2`, `postgresql+psycopg`
                or `mysql+pymysql` URLs.
            session: As for `TokenRefresher`, like all but *observe*.
            credentials: Any `CredentialSource` instead; it is asked in the thread.
            region: Where all the databases are.
            ca_file: Roots in PEM to trust, as for `TokenRefresher`.
            tls: A context of your own instead; libpq takes none.
            policy: When to act and how long to wait.
            observe: Called with each event, in the thread; it must not block, and cannot
                open connections.
            max_connects_per_second: Delay connections of all engines together beyond this
                rate; `None` for no limit. Each waits for its turn in the thread.
            clock: Time itself, for tests.

        Raises:
            ConfigurationError: As `attach`; also for both *session* and *credentials*.
        """
        self._background = Background()
        self._policy = policy
        self._wiring = Wiring(
            pace=InThread(self._background, policy),
            session=session,
            credentials=credentials,
            region=region,
            ca_file=ca_file,
            tls=tls,
            policy=policy,
            observe=observe,
            max_connects_per_second=max_connects_per_second,
            clock=clock,
        )
        self._wiring.engines.attach_all(map(checked_sync, engines))

    def attach(
        self,
        engine: Engine,
        *,
        region: str | None = None,
        token_host: str | None = None,
        token_port: int | None = None,
        session: Any = None,
        credentials: CredentialSource | None = None,
        tls: ssl.SSLContext | None = None,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> Endpoint:
        """Give *engine* tokens from now on. What is not given falls back to the refresher's own.

        Args:
            engine: Made by `create_engine`.
            region: As for `TokenRefresher.attach`, like all the others.
            token_host: The RDS name to sign, where the URL dials something else.
            token_port: The port to sign, likewise.
            session: As for the constructor.
            credentials: As for the constructor.
            tls: As for the constructor.
            ca_file: As for the constructor.

        Returns:
            The endpoint that tokens are minted for.

        Raises:
            ConfigurationError: As `TokenRefresher.attach`; also for an async engine.
        """
        attach = partial(
            self._wiring.engines.attach,
            checked_sync(engine),
            region=region,
            token_host=token_host,
            token_port=token_port,
            session=session,
            credentials=credentials,
            tls=tls,
            ca_file=ca_file,
        )
        return self._background.call(attach)

    def detach(self, engine: Engine) -> None:
        """Take tokens away from *engine* again; its open connections are not touched.

        Raises:
            ConfigurationError: When it is not attached.
        """
        self._background.call(partial(self._wiring.engines.detach, checked_sync(engine)))

    def start(self, timeout: float = 10.0) -> None:
        """Mint for every endpoint, then go on minting in the background.

        May be called again, also after `close`; while it runs that does nothing.

        Args:
            timeout: The bound on the first mints, in seconds.

        Raises:
            CredentialsError: When AWS gives no keys to sign with.
            MintError: When *timeout* is over; it names what it waited for.
            ConfigurationError: When a CA file does not parse.
        """
        check_timeout(timeout)
        try:
            self._background.run(self._wiring.start(timeout), within=timeout + SLACK)
        except BaseException:
            if not self._wiring.refresher.running:
                self._background.stop_if_idle(within=_FAREWELL)
            raise

    def close(self) -> None:
        """End everything that `start` began, and the thread, within 2 s; unlink the engines.

        Idempotent, and not needed when the interpreter exits. Connections that are open stay
        open, those that wait for a token fail; `start()` links the engines again.
        """
        end = time.monotonic() + _FAREWELL
        self._wiring.engines.unlink()
        self._wiring.refresher.dismiss()
        if self._background.alive:
            with contextlib.suppress(MintError):  # the thread is stuck, or was ended meanwhile
                self._background.run(self._wiring.aclose(), within=_FAREWELL)
        self._background.stop(within=max(0.1, end - time.monotonic()))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def status(self) -> Status:
        """Return what is true now, for a readiness probe; from any thread, without waiting.

        In a forked child, where nothing is ready yet, it begins the minting that it reports.
        """
        if self._wiring.refresher.lost:
            with contextlib.suppress(MintError):  # no thread any more: the interpreter exits
                self._background.post(self._wiring.refresher.revive)
        return self._wiring.status()

    def token(self, endpoint: Endpoint) -> Token:
        """Return the current token for *endpoint*, minted now if there is none.

        Works for an endpoint that was never attached, and without `start()`.

        Raises:
            MintError: When there was none within `policy.wait` seconds; `CredentialsError`
                when AWS gave no keys.
        """
        return self._background.run(self._obtain(endpoint), within=patience(self._policy))

    def password(self, endpoint: Endpoint) -> Callable[[], str]:
        """Return a callable that gives the current password, for whoever opens connections.

        From now on the endpoint's tokens are minted ahead of need, like an attached
        engine's; call this before `start()`, so that the first one is there. Verify the
        server: with `tls(endpoint)` for PyMySQL, with `sslmode="verify-full"` and
        `sslrootcert` for libpq, whose own default sends tokens in clear text.

        Example:
            ```python
            password = refresher.password(endpoint)
            connection = pymysql.connect(
                host=endpoint.host, port=endpoint.port, user=endpoint.user, database="orders",
                password=password(), ssl=refresher.tls(endpoint),
            )
            ```
        """
        supply = self._background.call(partial(self._wiring.engines.lend, endpoint))
        return BlockingPassword(supply, partial(self.token, endpoint))

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext:
        """Return the TLS context to go with `password(endpoint)`: verified, host name included.

        Built at the first call (14 to 33 ms with AWS's whole bundle), then shared.

        Raises:
            ConfigurationError: When the CA file cannot be read or does not parse.
        """
        return self._wiring.engines.tls(endpoint, alpn=None)

    def __repr__(self) -> str:
        return f"<ThreadedRefresher of {len(self._wiring.refresher.supplies)} endpoints>"

    async def _obtain(self, endpoint: Endpoint) -> Token:
        return await self._wiring.engines.supply(endpoint).obtain()


@contextlib.contextmanager
def open_engine(
    url: str | URL,
    *,
    region: str | None = None,
    token_host: str | None = None,
    token_port: int | None = None,
    session: Any = None,
    credentials: CredentialSource | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    tls: ssl.SSLContext | None = None,
    policy: RefreshPolicy = _DEFAULT_POLICY,
    observe: Observer = log_events,
    max_connects_per_second: float | None = None,
    **engine_options: Any,
) -> Generator[Engine]:
    """Open a sync engine whose connections log in with IAM tokens minted ahead of need.

    The first token is minted before the block is entered; on leaving the engine is
    disposed and the refresher closed.

    Args:
        url: `postgresql+psycopg2://user@host[:port]/database` or of another driver that
            `ThreadedRefresher` takes, without a password.
        region: As for `ThreadedRefresher.attach`, like all up to *observe*.
        token_host: The RDS name to sign, where the URL dials something else.
        token_port: The port to sign, likewise.
        session: Who gives AWS credentials.
        credentials: Or any `CredentialSource`.
        ca_file: Roots in PEM to trust, as for `TokenRefresher`.
        tls: Or a context of your own.
        policy: When to act and how long to wait.
        observe: Called with each event.
        max_connects_per_second: As for `ThreadedRefresher`.
        engine_options: For `create_engine`, untouched.

    Raises:
        ConfigurationError: As `ThreadedRefresher.attach`; nothing was sent.
        CredentialsError: When AWS gives no keys to sign with.
        MintError: When there was no token within 10 s.

    Example:
        ```python
        url = "postgresql+psycopg2://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"
        with open_engine(url) as engine, engine.connect() as connection: ...
        ```
    """
    address = parsed(url)
    check_url(address, is_async=False)
    check_options(engine_options)
    refresher = ThreadedRefresher(
        session=session,
        credentials=credentials,
        region=region,
        ca_file=ca_file,
        tls=tls,
        policy=policy,
        observe=observe,
        max_connects_per_second=max_connects_per_second,
    )
    engine = create_engine(address, **engine_options)
    try:
        refresher.attach(engine, token_host=token_host, token_port=token_port)
        refresher.start()
        yield engine
    finally:
        try:
            engine.dispose()
        finally:
            refresher.close()
