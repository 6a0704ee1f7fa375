"""Each alert of docs/grafana/alerts.yml fires under a fault, and none without one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from promql_parser import parse_duration

from rds_iam_async import Endpoint, MintError, RefreshPolicy, TokenRefresher
from rds_iam_async._credential_cache import CredentialCache
from rds_iam_async._supply import TokenSupply
from rds_iam_async.telemetry import Observer, prometheus_events
from rds_iam_async.telemetry._observer import for_refresher
from rds_iam_async.testing import FakeClock

from ..prometheus import Prometheus
from .conftest import FakeAws
from .test_log_outage import BuggyClock, Watched

pytestmark = pytest.mark.anyio

RULES_FILE = Path(__file__).parents[2] / "docs" / "grafana" / "alerts.yml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES_FILE.read_text())["groups"] for rule in group["rules"]
]
ENDPOINT = Endpoint(host="db", port=5432, user="app", region="eu-west-1")
EVERY = 30.0
"""Between two scrapes, and two looks at the rules, in seconds."""


class World:
    """An app with its clock and its AWS, and a Prometheus that scrapes it."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.aws = FakeAws(self.clock)
        self.registry = CollectorRegistry()
        self.observe: Observer = prometheus_events(self.registry)
        self.refresher = TokenRefresher(
            credentials=self.aws, clock=self.clock, observe=self.observe
        )
        self.refresher.password(ENDPOINT)
        self.prometheus = Prometheus()
        self.fired: set[str] = set()
        self.fires: set[str] = set()
        self._true_since: dict[str, float] = {}

    async def live(
        self, seconds: float, during: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """Let time pass, with *during* beginning anew after each scrape."""
        for _ in range(int(seconds / EVERY)):
            async with anyio.create_task_group() as group:
                if during is not None:
                    group.start_soon(during)
                await self.clock.advance(EVERY)
            self._scrape()

    def _scrape(self) -> None:
        now = self.clock.monotonic()
        self.prometheus.scrape(now, generate_latest(self.registry).decode())
        self.fires = set()
        for rule in RULES:
            name = rule["alert"]
            if not self.prometheus.ask(rule["expr"]):
                self._true_since.pop(name, None)
                continue
            since = self._true_since.setdefault(name, now)
            if "for" not in rule or timedelta(seconds=now - since) >= parse_duration(rule["for"]):
                self.fires.add(name)
        self.fired |= self.fires

    async def connect(self) -> None:
        with contextlib.suppress(MintError):
            await self.refresher.token(ENDPOINT)


async def test_quiet_hours_wake_nobody() -> None:
    """Keys are renewed, tokens are replaced, and every connect finds one."""
    world = World()
    async with world.refresher:
        await world.live(2 * 3600, world.connect)
    assert world.fired == set()


async def aws_is_down() -> set[str]:
    world = World()
    world.aws.lifetime = 900
    async with world.refresher:
        await world.live(600)
        world.aws.goes_down()
        await world.live(1800, world.connect)
    return world.fired


async def aws_is_slow() -> set[str]:
    world = World()  # not started: as in AWS Lambda, connections wait
    world.aws.lifetime = 10
    world.aws.delay = 4
    await world.live(900, world.connect)
    return world.fired


async def the_task_is_gone() -> set[str]:
    world = World()
    async with world.refresher:
        await world.live(60)
        [task] = [t for t in asyncio.all_tasks() if t.get_name() == "rds_iam_async refresher"]
        task.cancel()
        await world.live(2400)
    return world.fired


def supply_of(world: World, observe: Observer) -> TokenSupply:
    """A supply whose tokens a server may refuse, which no refresher's endpoint without one can."""
    policy = RefreshPolicy()
    return TokenSupply(
        ENDPOINT,
        CredentialCache(world.aws, policy=policy, clock=world.clock, observe=observe),
        policy=policy,
        clock=world.clock,
        observe=observe,
        on_cold=lambda: None,
    )


async def the_server_refuses() -> set[str]:
    world = World()
    observe = for_refresher(world.observe, Watched(world.clock))
    supply = supply_of(world, observe)

    async def connect() -> None:
        await supply.replace((await supply.obtain()).password)

    await world.live(900, connect)
    return world.fired


async def the_refresher_crashes() -> set[str]:
    clock = BuggyClock()
    world = World(clock)
    async with world.refresher:
        await world.live(60)
        clock.bug = ZeroDivisionError("a bug")
        await world.live(300)
        clock.bug = None
        await world.live(60)
    return world.fired


async def the_clock_jumps() -> set[str]:
    world = World()
    async with world.refresher:
        for _ in range(4):
            await world.live(60)
            world.clock.step(600)
        await world.live(60)
    return world.fired


async def the_server_refuses_who_seldom_connects() -> set[str]:
    world = World()
    observe = for_refresher(world.observe, Watched(world.clock))
    supply = supply_of(world, observe)
    scrapes = itertools.count()

    async def connect() -> None:
        if next(scrapes) % 60 == 0:
            await supply.replace((await supply.obtain()).password)

    await world.live(3 * 3600, connect)
    return world.fired


class Starved(FakeClock):
    """A machine on which 0.1 s pass between any two instructions."""

    def __init__(self) -> None:
        super().__init__()
        self._lost = itertools.count()

    def boot(self) -> float:
        return super().boot() + 0.1 * next(self._lost)


async def there_is_no_cpu() -> set[str]:
    world = World(Starved())
    async with world.refresher:
        await world.live(3600)
    return world.fired


FAULTS = {
    aws_is_down: {
        "RdsIamTokenRunsOut",
        "RdsIamNoToken",
        "RdsIamConnectsWithoutToken",
        "RdsIamMintsFail",
        "RdsIamCredentialsFail",
    },
    aws_is_slow: {
        "RdsIamMintsOften",
        "RdsIamCredentialsSlow",
        "RdsIamConnectsWait",
        "RdsIamConnectsWaitLong",
    },
    the_task_is_gone: {"RdsIamTokenRunsOut", "RdsIamNoToken"},
    the_server_refuses: {"RdsIamTokensRejected"},
    the_server_refuses_who_seldom_connects: {"RdsIamTokensRejectedNowAndThen"},
    the_refresher_crashes: {"RdsIamRefresherCrashes"},
    the_clock_jumps: {"RdsIamClockJumps"},
    there_is_no_cpu: {"RdsIamSigningSlow"},
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_fault_raises_its_alerts(fault: Callable[[], Awaitable[set[str]]]) -> None:
    """All of its own, by the real exposition of a real refresher, for as long as they ask."""
    assert await fault() >= FAULTS[fault]


async def test_a_burst_of_refusals_wakes_nobody() -> None:
    """A revoked session that was replaced at once is no outage, however many were on their way."""
    world = World()
    supply = supply_of(world, for_refresher(world.observe, Watched(world.clock)))
    for connects in (1, 20):  # a counter that is born with a burst in it would hide that
        token = await supply.obtain()
        async with anyio.create_task_group() as group:
            for _ in range(connects):
                group.start_soon(supply.replace, token.password)
            await world.clock.advance(1)
        supply.accepted((await supply.obtain()).password)
        await world.live(2 * 3600, supply.obtain)
    assert world.fired == set()


@pytest.mark.parametrize("life", [3600, 6 * 3600], ids=["1 h", "6 h"])
async def test_that_keys_run_out_is_said_early_and_until_it_is_over(life: float) -> None:
    """While the keys in hand are good, few looks fail; the alert is there all the same."""
    world = World()
    world.aws.lifetime = life
    async with world.refresher:
        await world.live(600)
        world.aws.goes_down()
        while "RdsIamCredentialsFail" not in world.fires:
            assert "RdsIamTokenRunsOut" not in world.fires
            await world.live(EVERY)
        left = world.refresher.status().endpoints[0].usable_for
        assert left > 240
        while "RdsIamNoToken" not in world.fires:
            assert "RdsIamCredentialsFail" in world.fires
            await world.live(EVERY)
        world.aws.comes_back()
        await world.live(60)
        assert "RdsIamCredentialsFail" not in world.fires


def test_each_alert_is_raised_by_some_fault() -> None:
    """An alert that nothing can raise is worse than none."""
    assert set().union(*FAULTS.values()) == {rule["alert"] for rule in RULES}
