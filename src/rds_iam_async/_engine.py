"""The wiring: engines on one side, the refresher on the other, a token supply between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from ._attachment import Attachment
from ._clock import Clock, SystemClock
from ._connect import Connector
from ._credentials import CredentialSource
from ._drivers import Driver, Said
from ._endpoint import endpoint_of
from ._errors import ConfigurationError
from ._inspect import check_engine, sync_engine_of
from ._limit import ConnectLimit
from ._password import CurrentPassword
from ._refresher import Refresher
from ._report import status_of
from ._schedule import RefreshPolicy
from ._status import Status
from ._stock import Stock
from ._supply import TokenSupply
from ._tls import Trust, checked
from ._to_the_end import to_the_end
from ._token import Endpoint, Token
from ._verification import Verification
from .telemetry import Observer, guarded, log_events

_DEFAULT_POLICY = RefreshPolicy()
_FAREWELL = 0.5
"""The bound on ending what `token()` began for endpoints that are not attached, in seconds."""


class TokenRefresher:
    """Keeps a usable IAM token ready for every engine attached to it.

    Attached engines work at once: without `start()` a token is minted when a connection
    finds none (for a Lambda function, a script), with it all are minted ahead of need.

    Example:
        ```python
        refresher = TokenRefresher(engine)
        async with refresher:
            async with engine.connect() as connection: ...
        ```
    """

    def __init__(
        self,
        *engines: AsyncEngine,
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
        """Attach *engines*; nothing is read or sent yet.

        Args:
            engines: Made by `create_async_engine` from `postgresql+asyncpg` URLs.
            session: An `aioboto3.Session` (or an `aiobotocore`, `boto3` or `botocore` one,
                or a function that makes one). It is used in threads of ours: give one that
                your own clients do not share, or a function.
            credentials: Any `CredentialSource` instead. With neither, the ordinary AWS chain
                by way of `aioboto3.Session()`.
            region: Where all the databases are; `None` reads each from its host name, else
                from the session, `AWS_REGION` or `AWS_DEFAULT_REGION`.
            ca_file: Roots in PEM to trust beside the system's; `None` means what
                `RDS_IAM_CA_FILE`, else `PGSSLROOTCERT` names.
            tls: A context of your own instead, used as it is.
            policy: When to act and how long to wait.
            observe: Called with each event, on the loop; it must not block.
            max_connects_per_second: Delay connections of all engines together beyond this
                rate; `None` for no limit. RDS throttles IAM logins near 200 a second. Needs
                the extra `limit`.
            clock: Time itself, for tests.

        Raises:
            ConfigurationError: As `attach`; also for both *session* and *credentials*.
        """
        if not isinstance(policy, RefreshPolicy) or not callable(observe):
            raise ConfigurationError(
                f"policy is a {type(policy).__name__}, observe a {type(observe).__name__}",
                hint="pass a RefreshPolicy and a callable, or leave them out",
            )
        self._region = region
        self._ca_file = ca_file
        self._tls = tls
        self._observe = guarded(observe)
        self._clock = clock or SystemClock()
        self._refresher = Refresher(policy=policy, clock=self._clock, observe=self._observe)
        self._stock = Stock(
            policy=policy,
            clock=self._clock,
            observe=self._observe,
            on_cold=self._refresher.revive,
        )
        self._keys = self._stock.keys(session, credentials)
        self._session = session
        self._limit = None
        if max_connects_per_second is not None:
            self._limit = ConnectLimit(max_connects_per_second)
        self._attached: dict[Engine, Attachment] = {}
        self._lent: set[int] = set()  # supplies that a `password` reads
        if ca_file is not None or tls is not None:
            checked(None if ca_file is None else os.fspath(ca_file), tls)  # as each attach would
        try:
            for engine in engines:
                self.attach(engine)
        except BaseException:
            for attachment in self._attached.values():
                attachment.unlink()
            raise

    def attach(
        self,
        engine: AsyncEngine,
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
            engine: Made by `create_async_engine` from a `postgresql+asyncpg` URL.
            region: The database's region.
            token_host: The RDS name to sign, where the URL dials something else: a CNAME, a
                tunnel, a load balancer.
            token_port: The port to sign, likewise.
            session: As for the constructor.
            credentials: As for the constructor.
            tls: As for the constructor.
            ca_file: As for the constructor.

        Returns:
            The endpoint that tokens are minted for.

        Raises:
            ConfigurationError: When the engine has a password, no user, no host or several
                hosts, an unsupported driver, weakened TLS, a `creator`, `async_creator` or
                `pool` of its own; is attached already; when no region can be found; when the
                CA file cannot be read.
        """
        sync_engine = sync_engine_of(engine)
        if sync_engine in self._attached:
            raise ConfigurationError(
                f"{engine!r} is attached already", hint="detach() it before attaching it anew"
            )
        driver, said, understood = check_engine(sync_engine)
        keys = self._keys
        if session is not None or credentials is not None:
            keys = self._stock.keys(session, credentials)
        url = sync_engine.url
        endpoint = endpoint_of(
            url,
            driver,
            region=region or self._region,
            token_host=token_host,
            token_port=token_port,
            session=session or self._session,
        )
        # OpenSSL takes the dot at the end of a fully qualified name for a part of it.
        other_name = token_host is not None or str(url.host).endswith(".")
        server_name = endpoint.host if other_name else None
        trust = self._trust(driver, said, ca_file, tls, server_name=server_name)
        verification = Verification(driver, trust, said, server_name=server_name)
        supply = self._stock.supply(endpoint, keys)
        connector = Connector(
            supply,
            driver=driver,
            verification=verification,
            dialled={
                "host": url.host,
                "port": url.port or driver.default_port,
                "user": url.username,
            },
            understood=understood,
            limit=self._limit,
            operational_error=sync_engine.dialect.loaded_dbapi.OperationalError,
        )
        attachment = Attachment(sync_engine, connector, supply, trust, verification)
        attachment.link()
        self._attached[sync_engine] = attachment
        self._refresher.add(supply)
        return endpoint

    def detach(self, engine: AsyncEngine) -> None:
        """Take tokens away from *engine* again; its open connections are not touched.

        Raises:
            ConfigurationError: When it is not attached.
        """
        attachment = self._attached.pop(sync_engine_of(engine), None)
        if attachment is None:
            raise ConfigurationError(f"{engine!r} is not attached", hint="attach() it first")
        attachment.unlink()
        supply = attachment.supply
        users = {id(other.supply) for other in self._attached.values()} | self._lent
        if id(supply) not in users:
            self._refresher.remove(supply)
            self._stock.drop(supply)

    async def start(self, timeout: float = 10.0) -> None:
        """Mint for every endpoint, then go on minting in the background.

        May be called again, also after `aclose` and in another loop; while it runs that
        does nothing.

        Args:
            timeout: The bound on the first mints, in seconds.

        Raises:
            CredentialsError: When AWS gives no keys to sign with.
            MintError: When *timeout* is over; it names what it waited for.
            ConfigurationError: When a CA file does not parse.
        """
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
            raise ConfigurationError(
                f"timeout={timeout!r} is out of range", hint="pass a number of seconds above 0"
            )
        try:
            for attachment in tuple(self._attached.values()):
                attachment.link()
                await attachment.verification.ready()
        except BaseException:
            await to_the_end(self._stock.give_up_building(), within=_FAREWELL)
            raise
        await self._refresher.start(timeout=timeout)

    async def aclose(self) -> None:
        """End everything that `start` began, within 2 s, and unlink the engines.

        Idempotent, and safe in a cancelled scope. Connections that are open stay open;
        `start()` links the engines again.
        """
        for attachment in self._attached.values():
            attachment.unlink()
        try:
            await self._refresher.aclose()
        finally:
            await to_the_end(self._stock.aclose(), within=_FAREWELL)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def status(self) -> Status:
        """Return what is true now, for a readiness probe; from any thread."""
        with contextlib.suppress(RuntimeError):  # no running loop in this thread
            asyncio.get_running_loop()
            self._refresher.revive()
        now = self._clock.wall() if self._refresher.running else None
        endpoints = tuple(
            status_of(supply, refreshed_at=now, crash=self._refresher.crash)
            for supply in tuple(self._refresher.supplies)
        )
        return Status(ready=all(item.ready for item in endpoints), endpoints=endpoints)

    async def token(self, endpoint: Endpoint) -> Token:
        """Return the current token for *endpoint*, minted now if there is none.

        Works for an endpoint that was never attached, and without `start()`.

        Raises:
            MintError: When there was none within `policy.wait` seconds; `CredentialsError`
                when AWS gave no keys.
        """
        return await self._supply(endpoint).obtain()

    def password(self, endpoint: Endpoint) -> Callable[[], Awaitable[str]]:
        """Return an async callable that gives the current password, for a driver's `password=`.

        From now on the endpoint's tokens are minted ahead of need, like an attached
        engine's; call this before `start()`, so that the first one is there. Use it
        together with `tls(endpoint)`: asyncpg's own default sends tokens in clear text.
        A driver does not tell when the server refused what it was given, so the second
        try after a refusal is for attached engines only.

        Example:
            ```python
            pool = await asyncpg.create_pool(
                host=endpoint.host, port=endpoint.port, user=endpoint.user, database="orders",
                password=refresher.password(endpoint), ssl=refresher.tls(endpoint),
            )
            ```
        """
        supply = self._supply(endpoint)
        self._refresher.add(supply)
        self._lent.add(id(supply))
        return CurrentPassword(supply)

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext:
        """Return the TLS context to go with `password(endpoint)`: verified, host name included.

        Built at the first call (14 to 33 ms with AWS's whole bundle), then shared.

        Raises:
            ConfigurationError: When the CA file cannot be read or does not parse.
        """
        for attachment in self._attached.values():
            made = attachment.trust.build() if attachment.supply.endpoint == endpoint else None
            if isinstance(made, ssl.SSLContext):
                return made
        context: ssl.SSLContext = self._stock.trust(
            self._ca_file, self._tls, alpn="postgresql"
        ).build()
        return context

    def __repr__(self) -> str:
        return f"<TokenRefresher of {len(self._refresher.supplies)} endpoints>"

    # Within

    def _supply(self, endpoint: Endpoint) -> TokenSupply:
        """Return the supply that an attached engine uses, else one of our own keys."""
        return self._stock.supply_of(endpoint) or self._stock.supply(endpoint, self._keys)

    def _trust(
        self,
        driver: Driver,
        said: Said,
        ca_file: str | os.PathLike[str] | None,
        tls: ssl.SSLContext | None,
        *,
        server_name: str | None,
    ) -> Trust[Any]:
        """Return what verifies one engine's server: who is nearest to the engine has the word."""
        if said.ca_file is not None and ca_file is not None:
            raise ConfigurationError(
                f"both ca_file and the engine's own {said.ca_file!r} are given",
                hint="name the CA file once",
            )
        if ca_file is None and tls is None:
            ca_file, tls = said.ca_file, said.context
        if ca_file is None and tls is None:
            ca_file, tls = self._ca_file, self._tls
        return self._stock.trust(
            ca_file,
            tls,
            as_file=not driver.takes_context,
            alpn=driver.alpn,
            server_name=server_name,
        )
