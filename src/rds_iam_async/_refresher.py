"""The background task: mints each endpoint's next token ahead of need, for as long as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import random
import weakref
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any

import anyio

from ._clock import Clock
from ._errors import MintError
from ._schedule import SLICE, RefreshPolicy, clock_jumped, retry_delay
from ._supply import TokenSupply
from ._to_the_end import to_the_end
from ._token import Endpoint
from ._upkeep import Looks, Upkeep
from .telemetry import (
    ClockJumped,
    Observer,
    RefresherClosed,
    RefresherRecovered,
    RefresherRestarted,
)

_NAMED = 10
"""Endpoints that an error names; of thousands it says how many more there are."""

CLOSED_MEANWHILE = "the refresher was closed while it started"

_FAREWELL = 1.5
"""The bound on closing, in seconds: with what `TokenRefresher` adds it stays within 2."""


class Refresher:
    """One task that keeps every supply supplied; an optimisation, never a dependency.

    It enters and leaves everything itself, so that `start` and `aclose` may be called
    from different tasks, in any order among several refreshers.
    """

    def __init__(self, *, policy: RefreshPolicy, clock: Clock, observe: Observer) -> None:
        self._policy = policy
        self._clock = clock
        self._observe = observe
        self._upkeep = Upkeep(policy=policy, clock=clock)
        self._wanted = False
        self._inherited = False
        self._task: asyncio.Task[None] | None = None
        self._news: anyio.Event | None = None
        self._first_looks: Looks = {}
        self._starts = 0
        self._crashes = 0
        self._crashed_at = 0.0
        self._closings = 0
        self.crash: Exception | None = None
        _refreshers.add(self)

    # What it looks after

    @property
    def supplies(self) -> Collection[TokenSupply]:
        """What it looks after."""
        return self._upkeep.supplies.keys()

    def add(self, supply: TokenSupply) -> None:
        """Look after *supply* from now on, if not yet; if running, mint its first token soon."""
        if supply in self.supplies:
            return
        self._upkeep.add(supply)
        # A connection may begin a look, too: what it finds is for all endpoints.
        supply.keys.on_look_ended = self._tell
        self._in_loop(partial(self._upkeep.plan, supply))
        self._tell()

    def remove(self, supply: TokenSupply) -> None:
        """Forget *supply*."""
        self._upkeep.remove(supply)
        self._in_loop(partial(self._upkeep.plan, supply))

    # Its life

    @property
    def running(self) -> bool:
        """Whether the task is alive, in this process and in a loop that is not closed."""
        task = self._task
        return task is not None and not task.done() and not task.get_loop().is_closed()

    @property
    def promised(self) -> bool:
        """Whether tokens are minted ahead of need; in a forked child from its first need on."""
        return self._wanted and not self._inherited

    @property
    def lost(self) -> bool:
        """Whether the task should run, and does not: `revive` brings it back."""
        return self._wanted and not self.running

    def begin_looks(self) -> None:
        """Look for the keys that `start` is going to need, from all sources at once."""
        self._starts += 1
        if not self.running:
            self._first_looks = self._upkeep.begin_looks()

    async def start(self, *, timeout: float) -> None:
        """Mint for every endpoint, then go on in the background.

        Args:
            timeout: The bound on the first mints, in seconds.

        Raises:
            MintError: What kept a token from being made, bare (`CredentialsError` when AWS
                gave no keys); or that *timeout* was over, naming what it waited for.
        """
        if self.running:
            return
        self._starts += 1
        closings = self._closings
        try:
            with anyio.move_on_after(timeout) as scope:
                await self._upkeep.mint_first(self._first_looks)
            if closings != self._closings:
                raise MintError(CLOSED_MEANWHILE, hint="start it after closing it")
            if scope.cancelled_caught:
                raise MintError(
                    f"no token within {timeout:g} s: still waiting for "
                    + _named([s.endpoint for s in self.supplies if not s.slot.usable_for()]),
                    hint="check that the credential endpoint (STS, IMDS, the container agent) "
                    "answers, or raise the timeout of start()",
                )
        except BaseException:
            await to_the_end(self._upkeep.end_unwanted_flights(), within=_FAREWELL)
            raise
        finally:
            self._first_looks = {}
        self.begin()

    def begin(self) -> None:
        """Run in the background from now on; connections wait for the first tokens."""
        self._wanted = True
        self.revive()

    def revive(self) -> None:
        """Start the task (again) if it is wanted and not there: killed, forked, loop closed."""
        if self.lost:
            loop = asyncio.get_running_loop()
            self._inherited = False
            self._news = anyio.Event()
            self._task = loop.create_task(
                self._run(), name="rds_iam_async refresher", context=contextvars.Context()
            )

    def dismiss(self) -> None:
        """From now on nobody is to bring the task back."""
        self._wanted = False
        self._closings += 1

    async def aclose(self) -> None:
        """End the task and whatever is under way; bounded, shielded, as often as you like."""
        self.dismiss()
        starts = self._starts
        await self._end(then=partial(self._upkeep.aclose, unless=lambda: starts != self._starts))

    async def end_unwanted_flights(self) -> None:
        """End what is under way in this loop, unless a connection waits for it, too."""
        await self._upkeep.end_unwanted_flights()

    async def rest(self) -> None:
        """End the task, and what is under way that no connection waits for; bounded, shielded.

        Tokens and keys stay in hand, for `begin` to go on with.
        """
        self._wanted = False
        await self._end(then=self._upkeep.end_unwanted_flights)

    def let_go(self) -> None:
        """End the task without waiting for its end; from any thread, also from a finalizer."""
        self._wanted = False
        task, self._task = self._task, None
        if task is not None and not task.done() and not (loop := task.get_loop()).is_closed():
            with contextlib.suppress(RuntimeError):  # it was closed this instant
                loop.call_soon_threadsafe(task.cancel)

    def after_fork(self) -> None:
        """Forget the parent's task, and its tokens, so that the first connect looks again."""
        self._task = None
        self._inherited = True
        for supply in tuple(self.supplies):
            supply.after_fork()

    # Within

    async def _end(self, *, then: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task, self._task = self._task, None
        try:
            await to_the_end(_ended(task, then), within=_FAREWELL)
        finally:
            if task is not None:
                self._observe(RefresherClosed())

    async def _run(self) -> None:
        while True:
            try:
                await self._refresh_for_ever()
            except Exception as error:
                if self._crashes == 0:
                    self._crashed_at = self._clock.boot()
                self._crashes += 1
                self.crash = error
                pause = retry_delay(self._crashes, self._policy, draw=random.random())
                self._observe(RefresherRestarted(error=error, restart_in=pause))
                await self._clock.sleep(pause)

    async def _refresh_for_ever(self) -> None:
        wall, monotonic = self._clock.wall(), self._clock.monotonic()
        await self._upkeep.take_up()
        while True:
            await self._upkeep.go_round()
            await self._sleep()
            self._note_turn()
            wall_before, monotonic_before = wall, monotonic
            wall, monotonic = self._clock.wall(), self._clock.monotonic()
            wall_passed, passed = wall - wall_before, monotonic - monotonic_before
            if clock_jumped(wall_passed, passed):
                self._observe(ClockJumped(by=wall_passed - passed))
                await self._upkeep.make_all_due()

    def _note_turn(self) -> None:
        crashes, self._crashes, self.crash = self._crashes, 0, None
        if crashes:
            after = self._clock.boot() - self._crashed_at
            self._observe(RefresherRecovered(crashes=crashes, after=after))

    async def _sleep(self) -> None:
        now = self._clock.wall()
        next_at = min(self._upkeep.next_round_at(), now + SLICE)
        news = self._news
        if news is not None:
            await self._clock.wait(news, max(0.0, next_at - now))
            if news.is_set():
                self._news = anyio.Event()

    def _tell(self) -> None:
        """Wake the task, from whichever thread."""
        self._in_loop(self._ring)

    def _in_loop(self, call: Callable[[], object]) -> None:
        """Do it in the task's loop, soon, from whichever thread; without a task here and now."""
        if self.running and self._task is not None:
            with contextlib.suppress(RuntimeError):  # the loop was closed this instant
                self._task.get_loop().call_soon_threadsafe(call)
        else:
            call()

    def _ring(self) -> None:
        if self._news is not None:
            self._news.set()


def _named(endpoints: Sequence[Endpoint]) -> str:
    names = ", ".join(map(str, endpoints[:_NAMED]))
    others = len(endpoints) - _NAMED
    return f"{names} and {others:,} more" if others > 0 else names


async def _ended(
    task: asyncio.Task[None] | None, then: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    if task is not None and not task.done():
        loop = task.get_loop()
        if loop is asyncio.get_running_loop():
            task.cancel()
            await asyncio.wait([task])
        elif not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)
    await then()


_refreshers: weakref.WeakSet[Refresher] = weakref.WeakSet()


def _after_fork() -> None:
    for refresher in list(_refreshers):
        refresher.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
