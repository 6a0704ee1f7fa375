"""The wiring: engines on one side, the refresher on the other, a token supply between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import anyio
from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from . import _inspect
from ._clock import Clock, SystemClock
from ._connect import Connector, unavailable
from ._credential_cache import CredentialCache
from ._credentials import CredentialSource, SessionCredentials
from ._errors import ConfigurationError, MintError
from ._refresher import Refresher
from ._region import region_of
from ._schedule import RefreshPolicy
from ._status import EndpointStatus, Status
from ._supply import TokenSupply
from ._tls import Trust
from ._token import Endpoint, Token
from .telemetry import Observer, guarded, log_events

_DEFAULT_POLICY = RefreshPolicy()
_FAREWELL = 5.0
"""How long leaving `open_engine` waits for pooled connections to close, in seconds."""


@dataclass(slots=True)
class _Attachment:
    """One engine's link to its supply: undone by `detach` and `aclose`, redone by `start`."""

    engine: Engine
    connector: Connector
    supply: TokenSupply
    trust: Trust
    linked: bool = False

    def link(self) -> None:
        if not self.linked:
            event.listen(self.engine, "do_connect", self.connector.do_connect)
            self.linked = True

    def unlink(self) -> None:
        if self.linked:
            event.remove(self.engine, "do_connect", self.connector.do_connect)
            self.linked = False


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
            clock: Time itself, for tests.

        Raises:
            ConfigurationError: As `attach`; also for both *session* and *credentials*.
        """
        self._region = region
        self._ca_file = ca_file
        self._tls = tls
        self._policy = policy
        self._observe = guarded(observe)
        self._clock = clock or SystemClock()
        self._refresher = Refresher(policy=policy, clock=self._clock, observe=self._observe)
        self._caches: dict[int, tuple[object, CredentialCache]] = {}
        self._keys = self._cache_for(session, credentials)
        self._session = session
        self._supplies: dict[tuple[Endpoint, CredentialCache], TokenSupply] = {}
        self._trusts: dict[object, Trust] = {}
        self._attached: dict[Engine, _Attachment] = {}
        for engine in engines:
            self.attach(engine)

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
        sync_engine = _inspect.sync_engine_of(engine)
        if sync_engine in self._attached:
            raise ConfigurationError(
                f"{engine!r} is attached already", hint="detach() it before attaching it anew"
            )
        driver = _inspect.check_engine(sync_engine)
        trust = self._trust_for(ca_file, tls)
        keys = self._keys
        if session is not None or credentials is not None:
            keys = self._cache_for(session, credentials)
        url = sync_engine.url
        port = url.port or driver.default_port
        dialled = {"host": url.host, "port": port, "user": url.username}
        signed_host = token_host or url.host or ""
        endpoint = Endpoint(
            host=signed_host,
            port=token_port or port,
            user=url.username or "",
            region=self._region_for(signed_host, region, session or self._session),
        )
        supply = self._refreshed(endpoint, keys)
        connector = Connector(
            supply,
            driver=driver,
            trust=trust,
            dialled=dialled,
            operational_error=sync_engine.dialect.loaded_dbapi.OperationalError,
        )
        attachment = _Attachment(sync_engine, connector, supply, trust)
        attachment.link()
        self._attached[sync_engine] = attachment
        return endpoint

    def detach(self, engine: AsyncEngine) -> None:
        """Take tokens away from *engine* again; its open connections are not touched.

        Raises:
            ConfigurationError: When it is not attached.
        """
        attachment = self._attached.pop(_inspect.sync_engine_of(engine), None)
        if attachment is None:
            raise ConfigurationError(f"{engine!r} is not attached", hint="attach() it first")
        attachment.unlink()
        supply = attachment.supply
        if all(other.supply is not supply for other in self._attached.values()):
            self._refresher.remove(supply)
            del self._supplies[supply.endpoint, supply.keys]

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
        for attachment in self._attached.values():
            attachment.link()
            await attachment.trust.ready()
        await self._refresher.start(timeout=timeout)

    async def aclose(self) -> None:
        """End everything that `start` began, within 2 s, and unlink the engines.

        Idempotent, and safe in a cancelled scope. Connections that are open stay open;
        `start()` links the engines again.
        """
        for attachment in self._attached.values():
            attachment.unlink()
        await self._refresher.aclose()

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
        endpoints = tuple(self._status_of(supply) for supply in self._refresher.supplies)
        return Status(ready=all(item.ready for item in endpoints), endpoints=endpoints)

    async def token(self, endpoint: Endpoint) -> Token:
        """Return the current token for *endpoint*, minted now if there is none.

        Works for an endpoint that was never attached, and without `start()`.

        Raises:
            MintError: When there was none within `policy.wait` seconds; `CredentialsError`
                when AWS gave no keys.
        """
        return await self._supply_for(endpoint).obtain()

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
        supply = self._supply_for(endpoint)
        return _Password(self._refreshed(endpoint, supply.keys))

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext:
        """Return the TLS context to go with `password(endpoint)`: verified, host name included.

        Built at the first call (14 to 33 ms with AWS's whole bundle), then shared.

        Raises:
            ConfigurationError: When the CA file cannot be read or does not parse.
        """
        for attachment in self._attached.values():
            if attachment.supply.endpoint == endpoint:
                return attachment.trust.build()
        return self._trust_for(None, None).build()

    def __repr__(self) -> str:
        return f"<TokenRefresher of {len(self._refresher.supplies)} endpoints>"

    # Within

    def _cache_for(self, session: Any, credentials: CredentialSource | None) -> CredentialCache:
        if session is not None and credentials is not None:
            raise ConfigurationError(
                "both session and credentials are given", hint="give one of them"
            )
        given: object = session if credentials is None else credentials
        if id(given) not in self._caches:
            source = SessionCredentials(session) if credentials is None else credentials
            if not callable(getattr(source, "snapshot", None)):
                raise ConfigurationError(
                    f"credentials is a {type(source).__name__}",
                    hint="pass an object with 'async def snapshot(self) -> Credentials'",
                )
            cache = CredentialCache(
                source, policy=self._policy, clock=self._clock, observe=self._observe
            )
            self._caches[id(given)] = (given, cache)  # holding it keeps its id its own
        return self._caches[id(given)][1]

    def _trust_for(
        self, ca_file: str | os.PathLike[str] | None, tls: ssl.SSLContext | None
    ) -> Trust:
        if ca_file is None and tls is None:
            ca_file, tls = self._ca_file, self._tls
        path = None if ca_file is None else os.fspath(ca_file)
        key: object = (path, None if tls is None else id(tls))
        if key not in self._trusts:
            self._trusts[key] = Trust(path, context=tls)
        return self._trusts[key]

    def _region_for(self, host: str, given: str | None, session: Any) -> str:
        found = given or self._region or region_of(host)
        if not found and session is not None:
            found = SessionCredentials(session).region()
        found = found or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if not found and session is None:
            found = SessionCredentials().region()
        if not found:
            raise ConfigurationError(
                f"no region for {host!r}: its name does not say one, nor does the AWS session",
                hint="pass region='eu-west-1' or the like, or token_host= with the RDS name",
            )
        return found

    def _supply_for(self, endpoint: Endpoint) -> TokenSupply:
        """Return the supply that an attached engine uses, else one of our own keys."""
        for supply in self._supplies.values():
            if supply.endpoint == endpoint:
                return supply
        return self._new_supply(endpoint, self._keys)

    def _refreshed(self, endpoint: Endpoint, keys: CredentialCache) -> TokenSupply:
        supply = self._supplies.get((endpoint, keys)) or self._new_supply(endpoint, keys)
        self._refresher.add(supply)
        return supply

    def _new_supply(self, endpoint: Endpoint, keys: CredentialCache) -> TokenSupply:
        supply = TokenSupply(
            endpoint,
            keys,
            policy=self._policy,
            clock=self._clock,
            observe=self._observe,
            on_cold=self._refresher.revive,
        )
        self._supplies[endpoint, keys] = supply
        return supply

    def _status_of(self, supply: TokenSupply) -> EndpointStatus:
        held = supply.slot.held
        usable_for = supply.slot.usable_for()
        keys = supply.keys.held
        error = supply.keys.last_error or supply.last_error
        due = supply.next_mint_at if supply.keys.usable() else supply.keys.due_at
        return EndpointStatus(
            endpoint=supply.endpoint,
            ready=usable_for > 0,
            usable_for=usable_for,
            minted_at=held.token.minted_at if held else None,
            expires_at=held.token.expires_at if held else None,
            credentials_expire_at=keys.expires_at if keys else None,
            access_key_id=held.access_key_id if held else None,
            provider=supply.keys.provider,
            mints=supply.mints,
            cold_mints=supply.cold_mints,
            rejections=supply.rejections,
            consecutive_failures=max(supply.failures, supply.keys.failures),
            last_error=None if error is None else str(error),
            next_mint_at=max(due, self._clock.wall()) if self._refresher.running else None,
        )


class _Password:
    """What `TokenRefresher.password` returns."""

    def __init__(self, supply: TokenSupply) -> None:
        self._supply = supply

    async def __call__(self) -> str:
        password = self._supply.read()
        if password is not None:
            return password
        try:
            return (await self._supply.obtain()).password
        except MintError as error:
            raise unavailable(self._supply.endpoint, error) from error

    def __repr__(self) -> str:
        return f"<current IAM token for {self._supply.endpoint}>"


@contextlib.asynccontextmanager
async def open_engine(
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
    **engine_options: Any,
) -> AsyncGenerator[AsyncEngine]:
    """Open an engine whose connections log in with IAM tokens minted ahead of need.

    The first token is minted before the block is entered; on leaving the engine is
    disposed and the refresher closed. For a readiness probe make the engine yourself and
    use `TokenRefresher`, which has `status()`.

    Args:
        url: `postgresql+asyncpg://user@host[:port]/database`, without a password.
        region: As for `TokenRefresher.attach`, like all up to *observe*.
        token_host: The RDS name to sign, where the URL dials something else.
        token_port: The port to sign, likewise.
        session: Who gives AWS credentials.
        credentials: Or any `CredentialSource`.
        ca_file: Roots in PEM to trust beside the system's.
        tls: Or a context of your own.
        policy: When to act and how long to wait.
        observe: Called with each event.
        engine_options: For `create_async_engine`, untouched.

    Raises:
        ConfigurationError: As `TokenRefresher.attach`; nothing was sent.
        CredentialsError: When AWS gives no keys to sign with.
        MintError: When there was no token within 10 s.

    Example:
        ```python
        url = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"
        async with open_engine(url) as engine, engine.connect() as connection: ...
        ```
    """
    address = make_url(url)
    _inspect.check_url(address)
    _inspect.check_options(engine_options)
    refresher = TokenRefresher(
        session=session,
        credentials=credentials,
        region=region,
        ca_file=ca_file,
        tls=tls,
        policy=policy,
        observe=observe,
    )
    engine = create_async_engine(address, **engine_options)
    try:
        refresher.attach(engine, token_host=token_host, token_port=token_port)
        await refresher.start()
        yield engine
    finally:
        with anyio.move_on_after(_FAREWELL, shield=True):
            await engine.dispose()
        await refresher.aclose()
