"""The engines that are attached, and what each of them shares with the others."""

from __future__ import annotations

import os
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Engine

from ._attachment import Attachment
from ._connect import Connector
from ._credentials import CredentialSource
from ._drivers import Driver, Said, driver_named
from ._endpoint import endpoint_of
from ._errors import ConfigurationError
from ._inspect import check_engine
from ._limit import ConnectLimit
from ._pace import Pace
from ._portions import Portions
from ._refresher import Refresher
from ._stock import Stock
from ._supply import TokenSupply
from ._tls import Trust, checked
from ._token import Endpoint
from ._verification import Verification

_LINKED = 32
"""Engines linked or unlinked between two turns of the loop: at up to 20 µs each."""


class Engines:
    """Links each engine to the tokens of its endpoint, and has the refresher look after them.

    What is said for one engine goes before what is said for all.
    """

    def __init__(
        self,
        *,
        stock: Stock,
        refresher: Refresher,
        pace: Pace,
        session: Any,
        credentials: CredentialSource | None,
        region: str | None,
        ca_file: str | os.PathLike[str] | None,
        tls: ssl.SSLContext | None,
        max_connects_per_second: float | None,
    ) -> None:
        """Take what `TokenRefresher` is given, and how its connections wait.

        Raises:
            ConfigurationError: As `TokenRefresher`.
        """
        self._stock = stock
        self._refresher = refresher
        self._pace = pace
        self._session = session
        self._keys = stock.keys(session, credentials)
        self._region = region
        self._ca_file = ca_file
        self._tls = tls
        self._limit = None
        if max_connects_per_second is not None:
            self._limit = ConnectLimit(max_connects_per_second)
        self._attached: dict[Engine, Attachment] = {}
        self._users: Counter[TokenSupply] = Counter()
        self._lent: set[int] = set()  # supplies that a `password` reads
        if ca_file is not None or tls is not None:
            checked(None if ca_file is None else os.fspath(ca_file), tls)  # as each attach would

    # Attached, and not

    def attach_all(self, engines: Iterable[Engine]) -> None:
        """Attach all of them, or none."""
        try:
            for engine in engines:
                self.attach(engine)
        except BaseException:
            self.unlink()
            raise

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
        """Do what `TokenRefresher.attach` says, for the engine that carries the events."""
        if engine in self._attached:
            raise ConfigurationError(
                f"{engine!r} is attached already", hint="detach() it before attaching it anew"
            )
        driver, said, understood = check_engine(engine)
        keys = self._keys
        if session is not None or credentials is not None:
            keys = self._stock.keys(session, credentials)
        url = engine.url
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
        trust = self._trust(driver, said, ca_file, tls, host=endpoint.host)
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
            operational_error=engine.dialect.loaded_dbapi.OperationalError,
            pace=self._pace,
        )
        attachment = Attachment(engine, connector, supply, trust, verification)
        attachment.link()
        self._attached[engine] = attachment
        self._users[supply] += 1
        self._refresher.add(supply)
        return endpoint

    def detach(self, engine: Engine) -> None:
        """Do what `TokenRefresher.detach` says."""
        attachment = self._attached.pop(engine, None)
        if attachment is None:
            raise ConfigurationError(f"{engine!r} is not attached", hint="attach() it first")
        attachment.unlink()
        supply = attachment.supply
        self._users[supply] -= 1
        if not self._users[supply]:
            del self._users[supply]
            if id(supply) not in self._lent:
                self._refresher.remove(supply)
                self._stock.drop(supply, keep=self._keys)

    # Linked, and not

    async def link(self, *, check: Callable[[], None]) -> None:
        """Link those that are not, and have the roots ready that verify their servers.

        Args:
            check: Called before each; it raises where that is no longer wanted.
        """
        async for attachments in Portions(self._attached.items(), _LINKED):
            for engine, attachment in attachments:
                check()
                if self._attached.get(engine) is attachment:  # not detached meanwhile
                    attachment.link()
                    await attachment.verification.ready()
        check()

    def unlink(self) -> None:
        """Leave the engines as they were; `link` links them again."""
        for attachment in tuple(self._attached.values()):
            attachment.unlink()

    async def unlink_slowly(self, *, unless: Callable[[], bool]) -> None:
        """Do as `unlink`, with turns of the loop between, unless that is no longer wanted."""
        async for attachments in Portions(self._attached.values(), _LINKED):
            if unless():
                return
            for attachment in attachments:
                attachment.unlink()

    # For those who connect without an engine

    def supply(self, endpoint: Endpoint) -> TokenSupply:
        """Return the supply that an attached engine uses, else one of our own keys."""
        for attachment in tuple(self._attached.values()):
            if attachment.supply.endpoint == endpoint:
                return attachment.supply
        return self._stock.supply(endpoint, self._keys)

    def lend(self, endpoint: Endpoint) -> TokenSupply:
        """Return a supply that is looked after from now on, though no engine uses it."""
        supply = self.supply(endpoint)
        self._refresher.add(supply)
        self._lent.add(id(supply))
        return supply

    def tls(self, endpoint: Endpoint, *, alpn: str | None) -> ssl.SSLContext:
        """Do what `TokenRefresher.tls` says, naming the protocol *alpn*."""
        for attachment in tuple(self._attached.values()):
            made = attachment.trust.build() if attachment.supply.endpoint == endpoint else None
            if isinstance(made, ssl.SSLContext):
                named: ssl.SSLContext = attachment.verification.named(made)
                return named
        context: ssl.SSLContext = self._stock.trust(
            self._ca_file, self._tls, host=endpoint.host, alpn=alpn
        ).build()
        return context

    def libpq(self, endpoint: Endpoint) -> Verification:
        """Return how psycopg verifies the server of an endpoint that no engine is for."""
        driver = driver_named("postgresql+psycopg", is_async=True)
        trust = self._trust(driver, Said(), None, None, host=endpoint.host)
        return Verification(driver, trust, Said())

    # Within

    def _trust(
        self,
        driver: Driver,
        said: Said,
        ca_file: str | os.PathLike[str] | None,
        tls: ssl.SSLContext | None,
        *,
        host: str,
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
            host=host,
            as_file=not driver.takes_context,
            alpn=driver.alpn,
        )
