"""What happens to AWS while a contender and a static password connect in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from _contender import Contender, Poured, Running, soon
from _other_process import Elsewhere

HOST = "local.c0ffee000000.eu-west-1.rds.amazonaws.com"
"""The gate's name: one that packages take for RDS's. Each contender finds it on loopback."""
EVERY = 0.04
"""Seconds between two connections of one of the two; the other's are half-way between."""
HOURS = 3600.0
SHORT = 12.0
"""The life of keys in seconds where they end: that of an hour, shortened by `SCALE`."""
SCALE = 300.0
SLOW = 2.0
OUTAGE = (3.5, 0.5)
"""Seconds before the end of the keys in use at which the credential endpoint goes, and comes."""
FAST = 0.005
BURST = 50
"""Connections: a quarter of a second of them. More would measure the queue before two cores."""
BURSTS = 10
PASSWORD_USER = ("with_password", "a static password")
"""A user whom PostgreSQL itself asks for a password, and that."""

Pair = tuple[Poured, Poured]
"""What became of the contender's connections, and of the static password's."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a scenario plays on.

    Attributes:
        elsewhere: The database, and AWS.
        one: The contender.
        control: The static password.
        length: By how much shorter than in full, from 0 to 1.
    """

    elsewhere: Elsewhere
    one: Running
    control: Running
    length: float

    def together(self, seconds: float) -> float:
        """Let both connect in turn for so long; return when they begin, but do not wait."""
        begin, count = soon(), round(seconds / EVERY)
        self.one.order(begin=begin, every=EVERY, count=count)
        self.control.order(begin=begin + EVERY / 2, every=EVERY, count=count)
        return begin

    def pair(self) -> Pair:
        """Wait for both to finish."""
        return self.one.obeyed(), self.control.obeyed()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One of them.

    Attributes:
        title: What a reader calls it.
        play: Does it.
        lifetime: How long keys live, in seconds.
        scale: By how much all of AWS's times are shortened.
        concerns_iam: Whether it differs from the steady state for who uses IAM only.
    """

    title: str
    play: Callable[[Stage], Pair]
    lifetime: float = HOURS
    scale: float = 1.0
    concerns_iam: bool = True


def steady(stage: Stage) -> Pair:
    """Connect; nothing else happens."""
    stage.together(8 * stage.length)
    return stage.pair()


def expiring(stage: Stage) -> Pair:
    """Connect until the keys that the contender began with are dead."""
    stage.together(_until_their_end(stage) + 1)
    return stage.pair()


def slow(stage: Stage) -> Pair:
    """The same, but the endpoint that renews the keys takes 2 s for each answer."""
    stage.elsewhere.set(lifetime=SHORT, delay=SLOW)
    return expiring(stage)


def down(stage: Stage) -> Pair:
    """The same, but that endpoint is down while the keys are due to be renewed."""
    left = _until_their_end(stage)
    begin = stage.together(left + 1)
    for before, failure in zip(OUTAGE, ("refused", None), strict=True):
        _sleep_until(begin + left - before)
        stage.elsewhere.set(lifetime=SHORT, failure=failure)
    return stage.pair()


def fast(stage: Stage) -> Pair:
    """Connect 200 times a second, in short bursts: one fills two cores, so one after the other."""
    one, control = Poured([], 0.0, []), Poured([], 0.0, [])
    for _ in range(round(BURSTS * stage.length)):
        for running, so_far in ((stage.control, control), (stage.one, one)):
            running.order(begin=soon(), every=FAST, count=BURST)
            burst = running.obeyed()
            so_far.outcomes += burst.outcomes
            so_far.cpu += burst.cpu
    return one, control


def revoked(stage: Stage) -> Pair:
    """Connect after all role sessions were revoked; tokens in hand are worth nothing."""
    begin = stage.together(1 + 8 * stage.length)
    _sleep_until(begin + 1)
    stage.elsewhere.revoke()
    since = time.monotonic()
    one, control = stage.pair()
    return one.since(since), control.since(since)


SCENARIOS = {
    "steady": Scenario(title="steady", play=steady, concerns_iam=False),
    "expiring": Scenario(title="keys expire", play=expiring, lifetime=SHORT, scale=SCALE),
    "slow": Scenario(title="endpoint slow, 2 s", play=slow, lifetime=SHORT, scale=SCALE),
    "down": Scenario(title="endpoint down, 3 s", play=down, lifetime=SHORT, scale=SCALE),
    "fast": Scenario(title="200 connects/s", play=fast, concerns_iam=False),
    "revoked": Scenario(title="keys revoked", play=revoked),
}


def run(
    scenario: Scenario, one: Contender, control: Contender, at: Elsewhere, length: float
) -> Pair:
    """Play *scenario* once.

    Raises:
        BrokenError: When the contender does not connect at all.
    """
    at.set(lifetime=scenario.lifetime)
    around = environment(at, "web-identity", scenario.scale)
    with Running(control, around) as floor, Running(one, around) as running:
        floor.ready()
        running.ready()
        return scenario.play(Stage(elsewhere=at, one=running, control=floor, length=length))


def environment(at: Elsewhere, provider: str, scale: float) -> dict[str, str]:
    """Return what a contender needs to know: where its database is, and who it is."""
    return at.environment(provider) | {
        "AWS_MAX_ATTEMPTS": "1",
        "BENCH_URL": at.url,
        "BENCH_PASSWORD": at.static_password(),
        "BENCH_PASSWORD_USER": ":".join(PASSWORD_USER),
        "BENCH_SCALE": str(scale),
    }


def _until_their_end(stage: Stage) -> float:
    return max(1.0, stage.elsewhere.state()[1] - time.time())


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))
