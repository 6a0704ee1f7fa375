"""A refresher of so many endpoints, all of which are due at the same instant, on a wound clock."""

from __future__ import annotations

import asyncio
import gc
import sys
import time

import anyio
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from rds_iam_async import Credentials, CredentialsError, Endpoint, RefreshPolicy, TokenRefresher
from rds_iam_async._clock import SystemClock
from rds_iam_async._mint import mint
from rds_iam_async.telemetry import Event, TokenMinted

TEN_MINUTES = 600.0
KEYS = Credentials(
    access_key_id="ASIAEXAMPLEEXAMPLEEX",
    secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    session_token="IQoJb3JpZ2luX2Vj" * 60,
)


class Source:
    """Gives the keys that it is told to give, at once, or is down."""

    def __init__(self) -> None:
        self.keys = KEYS
        self.is_down = False

    async def snapshot(self) -> Credentials:
        if self.is_down:
            raise CredentialsError("down")
        return self.keys


class WoundClock(SystemClock):
    """The machine's clocks, until they are wound: everybody who sleeps wakes up later."""

    def __init__(self) -> None:
        super().__init__()
        wall, boot, monotonic = self.wall, self.boot, self.monotonic
        self._wound = 0.0
        self._stepped = 0.0
        self.wall = lambda: wall() + self._wound + self._stepped
        self.boot = lambda: boot() + self._wound
        self.monotonic = lambda: monotonic() + self._wound
        self._rings = anyio.Event()

    def wind(self, seconds: float) -> None:
        """Let so much time have passed."""
        self._wound += seconds
        self._ring()

    def step(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or NTP does."""
        self._stepped += seconds
        self._ring()

    def _ring(self) -> None:
        self._rings.set()
        self._rings = anyio.Event()

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        if seconds > 0:
            rings = asyncio.ensure_future(self._rings.wait())
            told = asyncio.ensure_future(event.wait())
            waiters = [rings, told]
            try:
                await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiter in waiters:
                    waiter.cancel()


class Told:
    """An observer that knows when something has happened so many times."""

    def __init__(self) -> None:
        self._kind: type[Event] = TokenMinted
        self._left = 0
        self._all = asyncio.Event()

    def __call__(self, what: Event) -> None:
        if isinstance(what, self._kind):
            self._left -= 1
            if self._left == 0:
                self._all.set()

    def expect(self, kind: type[Event], times: int) -> asyncio.Event:
        """Return what is set when it has happened so many times more."""
        self._kind, self._left = kind, times
        self._all.clear()
        return self._all


class Bench:
    """A refresher of so many endpoints, and what is measured of it."""

    def __init__(self, size: int) -> None:
        self.clock = WoundClock()
        self.source = Source()
        self.told = Told()
        self.engines = [engine(number) for number in range(size)]
        self.refresher = TokenRefresher(
            credentials=self.source,
            region="eu-west-1",
            policy=RefreshPolicy(spread=0),
            observe=self.told,
            clock=self.clock,
        )
        self.endpoints: list[Endpoint] = []

    def attach(self) -> float:
        """Return the CPU seconds that it takes for all, without the garbage collector's.

        That goes through all that the process holds whenever it has grown by a quarter, and
        so costs now nothing and now seconds, whoever grows.
        """
        gc.disable()
        began = time.thread_time()
        self.endpoints = [self.refresher.attach(engine) for engine in self.engines]
        took = time.thread_time() - began
        gc.enable()
        return took

    async def cycle(self) -> None:
        """Let all tokens be due, and wait until each has its successor."""
        minted = self.told.expect(TokenMinted, len(self.engines))
        self.clock.wind(TEN_MINUTES)
        await minted.wait()

    async def cpu_of_cycle(self) -> float:
        began = time.thread_time()
        await self.cycle()
        return time.thread_time() - began

    def cpu_of_signing(self) -> float:
        began = time.thread_time()
        for endpoint in self.endpoints:
            mint(endpoint, KEYS, now=1e9)
        return time.thread_time() - began

    def cpu_of_status(self) -> float:
        began = time.thread_time()
        self.refresher.status()
        return time.thread_time() - began

    def token_text(self) -> int:
        """Return the bytes of the texts of all tokens."""
        tokens = [mint(endpoint, KEYS, now=1e9).password for endpoint in self.endpoints]
        return sum(sys.getsizeof(token) for token in tokens)


def engine(number: int) -> AsyncEngine:
    host = f"tenant{number}.abc.eu-west-1.rds.amazonaws.com"
    return create_async_engine(f"postgresql+asyncpg://app@{host}/orders")


async def warm_up() -> None:
    """Have imported and cached what all refreshers and engines share."""
    bench = Bench(1)
    bench.attach()
    await bench.refresher.start()
    await bench.refresher.aclose()
