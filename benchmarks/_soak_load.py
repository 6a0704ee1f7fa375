"""The application of the soak: workers that connect steadily, and who sees what they felt."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import AsyncIterator

from _soak_faults import POLICY
from _soak_tally import Tally, Use
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from rds_iam_async._replacement import LOOK_SHARE
from rds_iam_async._schedule import MARGIN_SHARE
from rds_iam_async.telemetry import (
    ColdConnect,
    CredentialsFailed,
    CredentialsResolved,
    Event,
    TokenMinted,
    TokenRejected,
)

PACE = 0.1
"""How long each worker rests after a use, in seconds, so that the machine stays usable."""

_BEAT = 0.05
_STALL = 0.5
"""A token is replaced about a second before its last use; half of that is well."""

_under_way: contextvars.ContextVar[Use] = contextvars.ContextVar("use under way")


class Witness:
    """Sees all events: notes on the use under way what it felt, and counts the rest.

    Attributes:
        mints: Tokens so far.
        looks: Looks at credentials that gave some.
        failed_looks: And those that gave none.
        slowest_look: How long one of the former took at most, in seconds.
        next_look_at: When credentials are due to be looked at, on the monotonic clock.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self.mints = 0
        self.looks = 0
        self.failed_looks = 0
        self.slowest_look = 0.0
        self.next_look_at = 0.0
        self._usable_until = 0.0

    def __call__(self, event: Event) -> None:
        match event:
            case ColdConnect():
                _under_way.get().waited = True
            case TokenRejected():
                use = _under_way.get()
                use.refused = True
                if not event.retried:  # otherwise the last one is not the one refused
                    use.stale = self._monotonic(self._usable_until) < use.began
            case TokenMinted():
                self.mints += 1
                life = event.expires_at - event.minted_at
                self._usable_until = event.expires_at - MARGIN_SHARE * life
            case CredentialsFailed():
                self.failed_looks += 1
            case CredentialsResolved(expires_at=float(end), took=took):
                self.looks += 1
                self.slowest_look = max(self.slowest_look, took)
                if took > LOOK_SHARE * POLICY.wait:
                    now = time.monotonic()
                    self._tally.look_was_slow(now - took, now)
                # Keys as short-lived as these are looked at again half-way to their end.
                self.next_look_at = self._monotonic((time.time() + end) / 2)

    @staticmethod
    def _monotonic(wall: float) -> float:
        return time.monotonic() + wall - time.time()


class Load:
    """Workers that use engines steadily, and can be made to rest."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._busy = 0
        self._may_go = asyncio.Event()
        self._may_go.set()
        self._tasks: list[asyncio.Task[None]] = []

    def add_worker(self, engine: AsyncEngine) -> None:
        """Let one more worker use *engine*."""
        self._tasks.append(asyncio.create_task(self._work(engine)))

    def start_watch(self) -> None:
        """Note from now on when the loop does not run."""
        self._tasks.append(asyncio.create_task(self._watch()))

    async def _watch(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(_BEAT)
            if (now := time.monotonic()) - before > _STALL:
                self._tally.machine_stalled(before, now)

    async def stop(self) -> None:
        """End all workers; they rest."""
        workers, self._tasks = self._tasks, []
        for worker in workers:
            worker.cancel()
        await asyncio.wait(workers)

    @contextlib.asynccontextmanager
    async def resting(self) -> AsyncIterator[None]:
        """Let nothing be under way: no connect, and no look at credentials."""
        self._may_go.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while self._busy or _is_looking():  # noqa: ASYNC110 - no event says it
                    await asyncio.sleep(0.01)
        yield
        # Who measured has stalled the loop: let the refresher have its turn first.
        await asyncio.sleep(PACE)
        self._may_go.set()

    async def _work(self, engine: AsyncEngine) -> None:
        while True:
            await self._may_go.wait()
            self._busy += 1
            await self._use(engine)
            self._busy -= 1
            await asyncio.sleep(PACE)

    async def _use(self, engine: AsyncEngine) -> None:
        use = Use(began=time.monotonic())
        _under_way.set(use)
        try:
            async with engine.connect() as connection:
                await connection.execute(text("select 1"))
        except Exception as error:
            use.error = f"{type(error).__name__}: {error}".splitlines()[0]
        use.ended = time.monotonic()
        self._tally.add(use)


def _is_looking() -> bool:
    return any(thread.name.startswith("rds_iam_async") for thread in threading.enumerate())
