"""The wiring: engines on one side, the refresher on the other, their life and their state."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from typing import Any

from ._clock import Clock, SystemClock
from ._credentials import CredentialSource
from ._engines import Engines
from ._errors import ConfigurationError, MintError
from ._pace import Pace
from ._refresher import CLOSED_MEANWHILE, Refresher
from ._report import status_of
from ._schedule import RefreshPolicy
from ._status import Status
from ._stock import Stock
from ._to_the_end import to_the_end
from ._token import Endpoint
from .telemetry import Observer, guarded
from .telemetry._observer import checked as checked_observer
from .telemetry._observer import for_refresher

_FAREWELL = 0.5
"""The bound, in seconds, on ending what `token()` began for endpoints that are not attached, and
on unlinking engines a few at a time; what is left of these is then unlinked at once."""


class Wiring:
    """What `TokenRefresher` and `ThreadedRefresher` have in common, which is all but the waiting.

    Attributes:
        engines: Which engines read whose tokens.
        refresher: Looks after the tokens of all of them.
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
        self._clock = clock or SystemClock()
        self.boot = self._clock.boot
        observe = guarded(for_refresher(checked_observer(observe), self))
        self.refresher = Refresher(policy=policy, clock=self._clock, observe=observe)
        self._stock = Stock(
            policy=policy, clock=self._clock, observe=observe, on_cold=self.refresher.revive
        )
        self.engines = Engines(
            stock=self._stock,
            refresher=self.refresher,
            pace=pace,
            session=session,
            credentials=credentials,
            region=region,
            ca_file=ca_file,
            tls=tls,
            max_connects_per_second=max_connects_per_second,
        )
        self._closed = False

    # Life

    async def start(self, timeout: float) -> None:
        """Do what `TokenRefresher.start` says."""
        self._closed = False
        try:
            # Roots are read in C, beside which another thread can import the SDK.
            self.refresher.begin_looks()
            await self.engines.link(check=self._check_open)
        except BaseException:
            await to_the_end(self._give_up(), within=_FAREWELL)
            raise
        await self.refresher.start(timeout=timeout)

    async def aclose(self) -> None:
        """Do what `TokenRefresher.aclose` says."""
        self._closed = True
        try:
            await self.refresher.aclose()
        finally:
            try:
                await to_the_end(self._take_down(), within=_FAREWELL)
            finally:
                if self._closed:
                    self.engines.unlink()  # those that are left, if the loop was too busy for all

    async def rest(self) -> None:
        """End what runs in the background, and leave the engines linked: they go on."""
        try:
            await self.refresher.rest()
        finally:
            await to_the_end(self._stock.give_up_building(), within=_FAREWELL)

    # State

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

    # Within

    def _check_open(self) -> None:
        if self._closed:
            raise MintError(CLOSED_MEANWHILE, hint="start it after closing it")

    def _started_again(self) -> bool:
        return not self._closed

    async def _give_up(self) -> None:
        if not self.refresher.running:  # else they are its own
            await self.refresher.end_unwanted_flights()
        await self._stock.give_up_building()

    async def _take_down(self) -> None:
        await self._stock.aclose(unless=self._started_again)
        await self.engines.unlink_slowly(unless=self._started_again)


def check_timeout(timeout: float) -> None:
    """Refuse what is no number of seconds above 0.

    Raises:
        ConfigurationError: As said.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise ConfigurationError(
            f"timeout={timeout!r} is out of range", hint="pass a number of seconds above 0"
        )
