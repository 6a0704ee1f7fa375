"""What a connection sees: the slot's token goes into `do_connect`, nothing else happens there."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from ._drivers import Driver
from ._errors import ConfigurationError, MintError, TokenUnavailableError
from ._frames import forget_frames
from ._limit import ConnectLimit
from ._pace import InLoop, Listener, Pace
from ._tls import HOW_TO_TRUST
from ._token import Endpoint, Token
from ._verification import Verification

_IN_LOOP = InLoop()


class TokenSource(Protocol):
    """What this side needs of whoever makes tokens."""

    endpoint: Endpoint

    def read(self) -> str | None:
        """Return the password to send now, `None` when there is none."""
        ...

    def obtain(self) -> Coroutine[Any, Any, Token]:
        """Return a usable token, waiting a bounded time for one."""
        ...

    def replace(self, refused: str) -> Coroutine[Any, Any, str | None]:
        """Return another password after *refused* was refused, or `None`."""
        ...

    def accepted(self, password: str) -> None:
        """Note that a connection succeeded."""
        ...


class Connector:
    """Opens the connections of one engine.

    `do_connect` is the listener: one slot read and a few dictionary writes. The rest runs
    where the driver's own `connect` would, by way of `async_creator_fn`, the argument in
    which SQLAlchemy's asyncio dialects take `create_async_engine(async_creator=…)`; so
    other listeners go on to work, and the driver's errors come out as they are. What that
    means for a sync engine is its *pace*'s business.
    """

    __slots__ = (
        "_dialled",
        "_driver",
        "_limit",
        "_operational_error",
        "_pace",
        "_tokens",
        "_understood",
        "_verification",
        "do_connect",
    )

    def __init__(
        self,
        tokens: TokenSource,
        *,
        driver: Driver,
        verification: Verification,
        dialled: Mapping[str, Any],
        understood: Iterable[str] = (),
        operational_error: type[Exception],
        limit: ConnectLimit | None = None,
        pace: Pace = _IN_LOOP,
    ) -> None:
        """Take what was decided when the engine was attached.

        Args:
            tokens: Where passwords come from.
            driver: Who connects.
            verification: The TLS to insist on.
            dialled: `host`, `port` and `user` as the engine's URL says them; arguments
                that differ at a connect are refused.
            understood: Arguments about TLS that the engine's connections have, and that
                are taken account of in *verification*.
            operational_error: The dialect's own, for a connection that got no token.
            limit: How many connections a second are dialled at most; `None` for any.
            pace: How it waits.
        """
        self._tokens = tokens
        self._driver = driver
        self._verification = verification
        self._dialled = dict(dialled)
        self._understood = tuple(understood)
        self._operational_error = operational_error
        self._limit = limit
        self._pace = pace
        self.do_connect = pace.listener(self._listener())

    def _listener(self) -> Listener:
        # A closure, because each attribute that the listener looks up costs every connect.
        read = self._tokens.read
        verification = self._verification
        understood = self._understood
        through_driver = partial(self._connect, self._driver.connect)

        def do_connect(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
            if "password" in cparams:
                raise second_password()
            for name in understood:
                cparams.pop(name, None)
            creator = cparams.get("async_creator_fn")
            # Never the token without its TLS: a listener after this one may replace the
            # creator, and asyncpg's own default would send the token in clear.
            tls = verification.arguments
            if tls is None:
                cparams["password"] = None
            else:
                cparams["password"] = read()
                for name, value in tls.items():
                    cparams.setdefault(name, value)
            cparams["async_creator_fn"] = (
                through_driver if creator is None else partial(self._connect, creator)
            )

        return do_connect

    async def _connect(self, creator: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        check_dialled(kwargs, self._dialled)
        kwargs.setdefault("port", self._dialled["port"])  # not PGPORT's, which is not signed
        kwargs = await self._with_token(kwargs)
        try:
            connection = await self._dial(creator, *args, **kwargs)
        except Exception as error:
            if not_trusted(error):
                raise with_advice(error, self._verification.roots) from error
            if (plainer := self._driver.explained(error, kwargs["user"])) is not None:
                raise plainer from error
            if not self._driver.is_refusal(error):
                raise
            refusal = error
        else:
            self._tokens.accepted(kwargs["password"])
            return connection
        # Outside the `except` block: otherwise the second error would carry the first one
        # as its context, and the caller would read two failures.
        return await self._connect_again(creator, refusal, *args, **kwargs)

    async def _connect_again(
        self, creator: Callable[..., Any], refusal: Exception, *args: Any, **kwargs: Any
    ) -> Any:
        another = await self._another(kwargs["password"])
        if another is None:
            raise refusal
        kwargs["password"] = another
        connection = await self._dial(creator, *args, **kwargs)
        self._tokens.accepted(another)
        return connection

    async def _dial(self, creator: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return await self._pace.dial(creator, *args, **kwargs)
        except BaseException as error:
            if self._driver.shows_password:
                forget_frames(error)
            raise

    async def _with_token(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        pace = self._pace
        try:
            if self._limit is not None:
                await pace.turn(self._limit)
                # The token may have been replaced while this connection waited its turn.
                kwargs["password"] = self._tokens.read()
            if self._verification.arguments is None:
                await pace.wait(self._verification.ready())
            kwargs = self._verification.imposed_on(kwargs)
            if self._verification.beside_address is not None:
                kwargs = await pace.aimed(self._verification, kwargs)
            if kwargs["password"] is None:
                kwargs["password"] = (await pace.wait(self._tokens.obtain())).password
        except MintError as error:
            cause = unavailable(self._tokens.endpoint, error)
            # SQLAlchemy is to treat it as it treats any database that cannot be reached.
            raise self._operational_error(str(cause)) from cause
        except socket.gaierror as error:  # of our own look-up, which libpq's would have been
            what = f"could not translate host name {self._dialled['host']!r} to address: "
            raise self._operational_error(what + str(error.strerror)) from error
        return kwargs

    async def _another(self, refused: str) -> str | None:
        try:
            another = await self._pace.wait(self._tokens.replace(refused))
            if another is not None and self._limit is not None:
                await self._pace.turn(self._limit)
        except MintError:  # closed meanwhile
            return None
        return another


def check_dialled(kwargs: Mapping[str, Any], dialled: Mapping[str, Any]) -> None:
    """Refuse a connection to another address than the engine's URL names.

    Raises:
        ConfigurationError: When another listener changed one.
    """
    for name, said in dialled.items():
        if kwargs.get(name, said) != said:
            raise ConfigurationError(
                f"the connection has {name}={kwargs[name]!r}, the engine's URL {said!r}",
                hint=f"name the {name} in the URL only: the token is signed for it",
            )


def unavailable(endpoint: Endpoint, error: MintError) -> TokenUnavailableError:
    """Return what a connection is told when *error* left it without a token."""
    told = TokenUnavailableError(f"no IAM token for {endpoint}: {error.args[0]}", hint=error.hint)
    told.__cause__ = error
    return told


def second_password() -> ConfigurationError:
    """Return the refusal of an engine that brings a password."""
    return ConfigurationError(
        "the engine has a password of its own, in its URL, its connect_args or another listener",
        hint="remove it: the IAM token takes its place",
    )


_NOT_TRUSTED = ("certificate verify failed", "does not match host name")
"""How libpq says it, which has no types of errors (`fe-secure-openssl.c`, `fe-secure-common.c`)."""


def not_trusted(error: BaseException | None) -> bool:
    """Tell whether a connection failed because the server's certificate was not trusted."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        if any(words in str(error) for words in _NOT_TRUSTED):
            return True
        error = error.__cause__ or error.__context__
    return False


def with_advice(error: Exception, roots: str) -> Exception:
    """Return *error* with what to do about it, for a server that was not trusted.

    Args:
        error: The driver's.
        roots: Who was trusted, in words.
    """
    *before, said = error.args or ("the server's certificate was not trusted",)
    advised = type(error)(
        *before,
        f"{said}. The token was not sent. Trusted are {roots}. To trust the server, {HOW_TO_TRUST}",
    )
    vars(advised).update(vars(error))  # reason, verify_code and the like
    return advised
