"""The fleet's simulated process is the refresher: the same calls and mints, hour by hour."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rds_iam_async import Endpoint, RefreshPolicy
from rds_iam_async._credential_cache import CredentialCache
from rds_iam_async._refresher import Refresher
from rds_iam_async._supply import TokenSupply
from rds_iam_async.telemetry import CredentialsFailed, CredentialsResolved, Event, TokenMinted
from rds_iam_async.testing import FakeClock

from .conftest import FakeAws

pytestmark = pytest.mark.anyio

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HOURS = 8
START = 1_800_000_000.25
END = START + HOURS * 3600


class Diary:
    """Notes when the refresher looked at credentials and when it minted."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.calls: list[float] = []
        self.mints: list[float] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, (CredentialsResolved, CredentialsFailed)):
            self.calls.append(self._clock.wall())
        elif isinstance(event, TokenMinted):
            self.mints.append(self._clock.wall())


async def the_refresher(
    keys_live: float, policy: RefreshPolicy, down: tuple[float, float]
) -> Diary:
    clock = FakeClock(START)
    diary = Diary(clock)
    aws = FakeAws(clock, lifetime=keys_live)
    refresher = Refresher(policy=policy, clock=clock, observe=diary)
    keys = CredentialCache(aws, policy=policy, clock=clock, observe=diary)
    endpoint = Endpoint(host="db", port=5432, user="app", region="eu-west-1")
    refresher.add(
        TokenSupply(
            endpoint, keys, policy=policy, clock=clock, observe=diary, on_cold=refresher.revive
        )
    )
    await refresher.start(timeout=10)
    await clock.advance(down[0] - START)
    aws.goes_down()
    await clock.advance(down[1] - down[0])
    aws.comes_back()
    await clock.advance(END - down[1])
    await refresher.aclose()
    return diary


@pytest.mark.parametrize(
    ("keys_live", "spread", "outage"),
    [
        (3600, 60, 1800),
        (3600, 0, 1800),
        (3600, 60, 5400),  # longer than the keys in hand: not a token to be had
        (900, 60, 1800),
    ],
)
async def test_the_simulated_process_is_the_refresher(
    monkeypatch: pytest.MonkeyPatch, keys_live: float, spread: float, outage: float
) -> None:
    """Given the same draws, to the millisecond, with an outage of STS in between."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from _fleet_process import Process

    policy = RefreshPolicy(spread=spread)
    down = (START + 3000, START + 3000 + outage)
    seed = 20260101
    random.seed(seed)
    diary = await the_refresher(keys_live, policy, down)
    process = Process(
        policy=policy, keys_live=keys_live, draw=random.Random(seed).random, down=down
    )
    process.live(START, END)
    for real, simulated in ((diary.calls, process.calls), (diary.mints, process.mints)):
        assert len(simulated) == len(real)
        assert max(abs(one - other) for one, other in zip(simulated, real, strict=True)) < 0.001
    assert len(process.mints) > HOURS * 2
