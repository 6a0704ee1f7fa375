"""The wiring: engines on one side, the refresher on the other, a token supply between them."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Engine

from ._attachment import Attachment
from ._clock import Clock, SystemClock
from ._connect import Connector
from ._credentials import CredentialSource
from ._drivers import Driver, Said, driver_named
from ._endpoint import endpoint_of
from ._errors import ConfigurationError, MintError
from ._inspect import check_engine
from ._limit import ConnectLimit
from ._pace import Pace
from ._portions import portions
from ._refresher import CLOSED_MEANWHILE, Refresher
from ._report import status_of
from ._schedule import RefreshPolicy
from ._status import Status
from ._stock import Stock
from ._supply import TokenSupply
from ._tls import Trust, checked
from ._to_the_end import to_the_end
from ._token import Endpoint
from ._verification import Verification
from .telemetry import Observer, guarded
from .telemetry._observer import checked as checked_observer
from .telemetry._observer import for_refresher

_FAREWELL = 0.5
"""The bound, in seconds, on ending what `token()` began for endpoints that are not attached, and
on unlinking engines a few at a time; what is left of these is then unlinked at once."""

_LINKED = 32
"""Engines linked or unlinked between two turns of the loop: at up to 20 µs each."""


class Wiring:
    """What `TokenRefresher` and `ThreadedRefresher` have in common, which is all but the waiting.

    Attributes:
        refresher: Looks after the supplies of all engines attached.
        boot: The time, for observers.
    """

    def __init__(
        self,
        *,
        pace: Pace,
        session: Any,
        credentials: CredentialSource | None,
        region: str | None,
        ca_file: str | os.PathLike[str] | None,
        tls: ssl.SSLContext | None,
        policy: RefreshPolicy,
        observe: Observer,
        max_connects_per_second: float | None,
        clock: Clock | None,
    ) -> None:
        """Take what `TokenRefresher` is given, and how its connections wait.

        Raises:
            ConfigurationError: As `TokenRefresher`.
        """
        if not isinstance(policy, RefreshPolicy):
            raise ConfigurationError(
                f"policy is a {type(policy).__name__}", hint="pass a RefreshPolicy, or leave it out"
            )
        self._pace = pace
        self._region = region
        self._ca_file = ca_file
        self._tls = tls
        self._clock = clock or SystemClock()
        self.boot = self._clock.boot
        observe = guarded(for_refresher(checked_observer(observe), self))
        self.refresher = Refresher(policy=policy, clock=self._clock, observe=observe)
        self._stock = Stock(
            policy=policy, clock=self._clock, observe=observe, on_cold=self.refresher.revive
        )
        self._keys = self._stock.keys(session, credentials)
        self._session = session
        self._limit = None
        if max_connects_per_second is not None:
            self._limit = ConnectLimit(max_connects_per_second)
        self._attached: dict[Engine, Attachment] = {}
        self._to_be_linked = True
        self._users: Counter[TokenSupply] = Counter()
        self._lent: set[int] = set()  # supplies that a `password` reads
        if ca_file is not None or tls is not None:
            checked(None if ca_file is None else os.fspath(ca_file), tls)  # as each attach would

    # Engines

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
        self.refresher.add(supply)
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
                self.refresher.remove(supply)
                self._stock.drop(supply, keep=self._keys)

    def unlink(self) -> None:
        """Leave the engines as they were; `start` links them again."""
        for attachment in tuple(self._attached.values()):
            attachment.unlink()

    # Life

    async def start(self, timeout: float) -> None:
        """Do what `TokenRefresher.start` says."""
        self._to_be_linked = True
        try:
            # Roots are read in C, beside which another thread can import the SDK.
            self.refresher.begin_looks()
            for attachments in portions(self._attached.items(), _LINKED):
                for engine, attachment in attachments:
                    self._check_open()
                    if self._attached.get(engine) is attachment:  # not detached meanwhile
                        attachment.link()
                        await attachment.verification.ready()
                await asyncio.sleep(0)
            self._check_open()
        except BaseException:
            await to_the_end(self._give_up(), within=_FAREWELL)
            raise
        await self.refresher.start(timeout=timeout)

    async def aclose(self) -> None:
        """Do what `TokenRefresher.aclose` says."""
        self._to_be_linked = False
        try:
            await self.refresher.aclose()
        finally:
            try:
                await to_the_end(self._take_down(), within=_FAREWELL)
            finally:
                if not self._to_be_linked:
                    self.unlink()  # those that are left, if the loop was too busy for all

    def _check_open(self) -> None:
        if not self._to_be_linked:
            raise MintError(CLOSED_MEANWHILE, hint="start it after closing it")

    async def _give_up(self) -> None:
        if not self.refresher.running:  # else they are its own
            await self.refresher.end_unwanted_flights()
        await self._stock.give_up_building()

    async def rest(self) -> None:
        """End what runs in the background, and leave the engines linked: they go on."""
        try:
            await self.refresher.rest()
        finally:
            await to_the_end(self._stock.give_up_building(), within=_FAREWELL)

    def status(self) -> Status:
        """Return what is true now; from any thread."""
        now = self._clock.wall() if self.refresher.running else None
        endpoints = tuple(
            status_of(supply, refreshed_at=now, crash=self.refresher.crash)
            for supply in tuple(self.refresher.supplies)
        )
        return Status(ready=all(item.ready for item in endpoints), endpoints=endpoints)

    def usable(self) -> Iterator[tuple[Endpoint, float]]:
        """Yield each endpoint that is kept supplied, and how long its token can be used.

        None before the start and after the end, nor in a forked child that has not needed one:
        nothing is promised then. From any thread.
        """
        if self.refresher.promised:
            for supply in tuple(self.refresher.supplies):
                yield supply.endpoint, supply.slot.usable_for()

    def failed_looks(self) -> Iterator[tuple[str, int]]:
        """Yield what gave each source's keys, and how many looks have failed since.

        When and whence as `usable`.
        """
        if self.refresher.promised:
            for keys in {supply.keys for supply in tuple(self.refresher.supplies)}:
                yield keys.provider or "", keys.failures

    # Without engines

    def supply(self, endpoint: Endpoint) -> TokenSupply:
        """Return the supply that an attached engine uses, else one of our own keys."""
        for attachment in tuple(self._attached.values()):
            if attachment.supply.endpoint == endpoint:
                return attachment.supply
        return self._stock.supply(endpoint, self._keys)

    def lend(self, endpoint: Endpoint) -> TokenSupply:
        """Return a supply that is looked after from now on, though no engine uses it."""
        supply = self.supply(endpoint)
        self.refresher.add(supply)
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

    async def _take_down(self) -> None:
        await self._stock.aclose(unless=lambda: self._to_be_linked)
        for attachments in portions(self._attached.values(), _LINKED):
            if self._to_be_linked:
                return  # started again meanwhile
            for attachment in attachments:
                attachment.unlink()
            await asyncio.sleep(0)

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


def check_timeout(timeout: float) -> None:
    """Refuse what is no number of seconds above 0.

    Raises:
        ConfigurationError: As said.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise ConfigurationError(
            f"timeout={timeout!r} is out of range", hint="pass a number of seconds above 0"
        )
