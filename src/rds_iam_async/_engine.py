"""The refresher of async engines: the wiring, driven from the app's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from sqlalchemy.ext.asyncio import AsyncEngine

from ._clock import Clock
from ._credentials import CredentialSource
from ._inspect import sync_engine_of
from ._pace import InLoop
from ._password import CurrentPassword, LibpqArguments
from ._schedule import RefreshPolicy
from ._status import Status
from ._token import Endpoint, Token
from ._wiring import Wiring, check_timeout
from .telemetry import Observer, log_events

_DEFAULT_POLICY = RefreshPolicy()


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
            engines: Made by `create_async_engine` from URLs of `postgresql+asyncpg`,
                `postgresql+psycopg`, `mysql+asyncmy` or `mysql+aiomysql`.
            session: An `aioboto3.Session` (or an `aiobotocore`, `boto3` or `botocore` one,
                or a function that makes one). It is used in threads of ours: give one that
                your own clients do not share, or a function.
            credentials: Any `CredentialSource` instead. With neither, the ordinary AWS chain,
                as `aioboto3.Session()` has it.
            region: Where all the databases are; `None` reads each from its host name, else
                from the session, `AWS_REGION` or `AWS_DEFAULT_REGION`.
            ca_file: Roots in PEM to trust; `None` means what `RDS_IAM_CA_FILE`, else
                `PGSSLROOTCERT` names. For the name of an RDS instance or cluster they are all
                that is trusted, for RDS Proxy and any other name the system's roots are, too.
            tls: A context of your own instead, used as it is.
            policy: When to act and how long to wait.
            observe: Called with each event, on the loop; it must not block.
            max_connects_per_second: Delay connections of all engines together beyond this
                rate, in each event loop; `None` for no limit. RDS throttles IAM logins near
                200 a second. Needs the extra `limit`.
            clock: Time itself, for tests.

        Raises:
            ConfigurationError: As `attach`; also for both *session* and *credentials*.
        """
        self._wiring = Wiring(
            pace=InLoop(),
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
        self._wiring.engines.attach_all(map(sync_engine_of, engines))

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
            engine: Made by `create_async_engine`, as for the constructor.
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
        return self._wiring.engines.attach(
            sync_engine_of(engine),
            region=region,
            token_host=token_host,
            token_port=token_port,
            session=session,
            credentials=credentials,
            tls=tls,
            ca_file=ca_file,
        )

    def detach(self, engine: AsyncEngine) -> None:
        """Take tokens away from *engine* again; its open connections are not touched.

        Raises:
            ConfigurationError: When it is not attached.
        """
        self._wiring.engines.detach(sync_engine_of(engine))

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
        check_timeout(timeout)
        await self._wiring.start(timeout)

    async def aclose(self) -> None:
        """End everything that `start` began, within 2 s, and unlink the engines.

        Idempotent, and safe in a cancelled scope. Connections that are open stay open;
        `start()` links the engines again.
        """
        await self._wiring.aclose()

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
            self._wiring.refresher.revive()
        return self._wiring.status()

    async def token(self, endpoint: Endpoint) -> Token:
        """Return the current token for *endpoint*, minted now if there is none.

        Works for an endpoint that was never attached, and without `start()`.

        Raises:
            MintError: When there was none within `policy.wait` seconds; `CredentialsError`
                when AWS gave no keys.
        """
        return await self._wiring.engines.supply(endpoint).obtain()

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
        return CurrentPassword(self._wiring.engines.lend(endpoint))

    def libpq(self, endpoint: Endpoint) -> Callable[[], Awaitable[dict[str, Any]]]:
        """Return an async callable that gives psycopg's arguments, all but `dbname`.

        What `password` and `tls` are for asyncpg, in one, since libpq does TLS itself: host,
        port, user, the current password, and a server that is verified, host name included.
        Take them anew for each connection.

        Raises:
            ConfigurationError: When a CA file cannot be read, or the refresher has a `tls=`,
                which libpq cannot use.

        Example:
            ```python
            pool = psycopg_pool.AsyncConnectionPool(  # 3.3 or newer
                "dbname=orders", kwargs=refresher.libpq(endpoint), open=False
            )
            ```
        """
        verification = self._wiring.engines.libpq(endpoint)
        return LibpqArguments(self._wiring.engines.lend(endpoint), verification)

    def tls(self, endpoint: Endpoint) -> ssl.SSLContext:
        """Return the TLS context to go with `password(endpoint)`: verified, host name included.

        Built at the first call (14 to 33 ms with AWS's whole bundle), then shared.

        Raises:
            ConfigurationError: When the CA file cannot be read or does not parse.
        """
        return self._wiring.engines.tls(endpoint, alpn="postgresql")

    def __repr__(self) -> str:
        return f"<TokenRefresher of {len(self._wiring.refresher.supplies)} endpoints>"
