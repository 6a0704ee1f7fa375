"""What the local tests have in common: keys that come and go, and load that counts."""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from rds_iam_async import (
    Credentials,
    CredentialsError,
    RefreshPolicy,
    Status,
    TokenRefresher,
    TokenUnavailableError,
)

if TYPE_CHECKING:  # programs of their own import this module, and are to start quickly
    from rds_iam_async.testing import FakeClock, LocalRds


class RoleSession:
    """A `CredentialSource` that issues a new role session for each look, known to the server."""

    provider = "role-session"

    def __init__(self, rds: LocalRds, *, lifetime: float = 3600.0) -> None:
        self.rds = rds
        self.lifetime = lifetime
        self.issued: list[str] = []

    async def snapshot(self) -> Credentials:
        keys = Credentials(
            access_key_id="ASIA" + secrets.token_hex(8).upper(),
            secret_access_key=secrets.token_urlsafe(30),
            session_token=secrets.token_urlsafe(600),
            expires_at=time.time() + self.lifetime,
        )
        self.rds.trust(keys)
        self.issued.append(keys.access_key_id)
        return keys


@dataclass
class Tally:
    """What became of a load."""

    connects: int = 0
    errors: list[str] = field(default_factory=list)


async def one_connect(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        assert (await connection.execute(text("select 1"))).scalar_one() == 1


PACE = 0.1
"""How often each worker connects, in seconds: a steady load that leaves the machine usable."""


async def load(engine: AsyncEngine, *, seconds: float, workers: int = 3) -> Tally:
    """Open new connections for *seconds*; use it with `poolclass=NullPool`."""
    tally = Tally()
    end = time.monotonic() + seconds

    async def worker() -> None:
        while time.monotonic() < end:
            try:
                await one_connect(engine)
                tally.connects += 1
            except Exception as error:
                tally.errors.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(PACE)

    await asyncio.gather(*(worker() for _ in range(workers)))
    return tally


def outcomes(rds: LocalRds) -> dict[str, int]:
    """Return how many logins ended how."""
    counts: dict[str, int] = {}
    for login in rds.log:
        counts[login.outcome] = counts.get(login.outcome, 0) + 1
    return counts


# Under a fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One connection that was wanted, and what `status()` said after it.

    Attributes:
        worker: Whose.
        began: In monotonic time.
        ended: Likewise.
        at: When it ended, on the load's clock.
        error: Why it failed.
        status: What was said.
    """

    worker: int
    began: float
    ended: float
    at: float
    error: Exception | None
    status: Status | None


class SteadyLoad:
    """Opens new connections all the time, remembers each, and lets a test wait for some.

    Given the refresher, it checks after each that `status()` is true.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        refresher: TokenRefresher | None = None,
        *,
        workers: int = 3,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.attempts: list[Attempt] = []
        self._engine = engine
        self._refresher = refresher
        self._workers = workers
        self._now = now
        self._over = False
        self._under_way = 0
        self._go = asyncio.Event()
        self._go.set()
        self._news = asyncio.Event()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        for worker in range(self._workers):
            self._group.create_task(self._work(worker))
        return self

    async def __aexit__(self, *how: Any) -> None:
        self._over = True
        self._go.set()
        await self._group.__aexit__(*how)

    @property
    def succeeded(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.error is None]

    @property
    def failed(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.error is not None]

    @property
    def errors(self) -> list[Exception]:
        return [attempt.error for attempt in self.attempts if attempt.error is not None]

    @property
    def statuses(self) -> list[Status]:
        return [attempt.status for attempt in self.attempts if attempt.status is not None]

    async def see(self, *, connects: int = 0, failures: int = 0, within: float = 30) -> None:
        """Wait until so many connections that begin from now on are open, or have failed."""
        now = time.monotonic()
        async with asyncio.timeout(within):
            while (
                sum(attempt.began >= now for attempt in self.succeeded) < connects
                or sum(attempt.began >= now for attempt in self.failed) < failures
            ):
                await self._news.wait()

    async def rest(self) -> None:
        """Begin no more connections, and wait for those that are under way."""
        self._go.clear()
        await until_true(lambda: self._under_way == 0)

    def go_on(self) -> None:
        """End the rest."""
        self._go.set()

    async def turn(self) -> None:
        """Wait until each worker has connected once more; also from beside its loop."""
        now = time.monotonic()

        def each_has_ended_one() -> bool:
            ended = {attempt.worker for attempt in self.attempts if attempt.began >= now}
            return len(ended) == self._workers

        await until_true(each_has_ended_one, within=30)

    async def recovers(self, policy: RefreshPolicy) -> None:
        """The fault has just ended: connects succeed within a retry interval, and go on so."""
        await self.see(connects=1, within=policy.retry_cap)
        now = time.monotonic()
        await self.see(connects=5)
        assert [attempt for attempt in self.failed if attempt.began >= now] == []

    async def _work(self, worker: int) -> None:
        while not self._over:
            while not self._go.is_set():  # and again: it may have been cleared meanwhile
                await self._go.wait()
            self._under_way += 1
            began, error, status = time.monotonic(), None, None
            try:
                await one_connect(self._engine)
            except Exception as raised:
                error = raised
            ended, at = time.monotonic(), self._now()
            if self._refresher is not None:
                asked_at = self._now()
                status = self._refresher.status()
                assert untruths(status, asked_at) == []
            self.attempts.append(
                Attempt(worker=worker, began=began, ended=ended, at=at, error=error, status=status)
            )
            self._under_way -= 1
            self._news.set()
            self._news.clear()
            await asyncio.sleep(PACE)


def untruths(status: Status, now: float) -> list[str]:
    """Return in what *status*, asked for at *now*, contradicts itself or the time."""
    found = []
    if status.ready != all(state.ready for state in status.endpoints):
        found.append("ready as a whole")
    for state in status.endpoints:
        left = 0.0 if state.expires_at is None else max(0.0, state.expires_at - now)
        claims = {
            "ready": state.ready == (state.usable_for > 0),
            "usable_for": 0 <= state.usable_for <= left,
            "last_error": (state.consecutive_failures > 0) == (state.last_error is not None),
            "next_mint_at": state.next_mint_at is None or state.next_mint_at >= now,
        }
        found += [f"{name} of {state}" for name, true in claims.items() if not true]
    return found


async def until_true(
    claim: Callable[[], bool], *, within: float = 30, every: float = 0.005
) -> None:
    """Wait for what no event tells, by looking again and again."""
    async with asyncio.timeout(within):
        while not claim():  # noqa: ASYNC110
            await asyncio.sleep(every)


STEP = 30.0
"""Seconds that pass at once."""


async def time_passes(
    clock: FakeClock, load: SteadyLoad, *, until: Callable[[], bool], step: float = STEP
) -> None:
    """Let hours pass in moments, until *until* holds; between two steps every worker connects.

    No time passes while they do, nor while keys are looked for: how quick the machine is, and
    whether it stood still, makes no difference.
    """
    async with asyncio.timeout(45):
        while not until():
            await load.rest()
            await clock.advance(step)
            await until_true(lambda: not looking())
            load.go_on()
            if not until():
                await load.turn()


def looking() -> bool:
    """Tell whether keys are being looked for: that takes time which is not the clock's."""
    return any(thread.name == "rds_iam_async-credentials" for thread in threading.enumerate())


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* and what is behind it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def lacked_a_token(error: Exception | None) -> bool:
    """Whether a connect failed as documented while AWS gave no keys."""
    kinds = [type(cause) for cause in causes(error)]
    return (
        isinstance(error, OperationalError)
        and TokenUnavailableError in kinds
        and CredentialsError in kinds
    )


def most_forced(seconds: float) -> int:
    """Return how many mints refusals force in so long at most: after 0, 1, 3, 7, … seconds.

    Source:
        `forced_delay`, which doubles from 1 s on while no connection succeeds.
    """
    return 1 + int(math.log2(1 + seconds))


def sqlstate(error: Exception) -> str | None:
    """Return the server's own code, which SQLAlchemy 2.0 lets out bare and 2.1 wraps."""
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
