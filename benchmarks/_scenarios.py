"""What happens to AWS while a contender and a static password connect in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from _contender import Contender, Poured, Running, soon
from _other_process import Elsewhere
from _pairing import evenly, in_turn, who_begins

HOST = "local.c0ffee000000.eu-west-1.rds.amazonaws.com"
"""The gate's name: one that packages take for RDS's. Each contender finds it on loopback."""
EVERY = 0.02
"""Seconds from one connection to the next, of whichever of the two."""
HOURS = 3600.0
SHORT = 20.0
"""The life of keys in seconds where they end. The shorter it is, the more of the connections
fall into a renewal: at 25 connections a second and twice as short it would be each hundredth."""
OUTLASTED = 40.0
"""The same where the endpoint is down: long enough for what that is measured with, 30 s."""
SLOW = 2.0
OUTAGE = (33.0, 3.0)
"""Seconds before the end of the keys in use at which the credential endpoint goes, and comes."""
FAST = 0.005
BURST = 50
"""Connections: a quarter of a second of them. More would measure the queue before two cores."""
BURSTS = 12
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
        lifetime: How long keys live, in seconds.
        length: By how much shorter than in full, from 0 to 1.
    """

    elsewhere: Elsewhere
    one: Running
    control: Running
    lifetime: float
    length: float

    def together(self, seconds: float) -> float:
        """Let both connect in turn for so long; return when they begin, but do not wait."""
        begin = soon()
        one, control = in_turn(begin=begin, every=EVERY, count=round(seconds / (2 * EVERY)))
        self.one.order(one)
        self.control.order(control)
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
        rounds: How often ours is measured in a full run, so that chance can be told: five
            times or more, since of fewer rounds no interval says how they would differ.
        lifetime: How long keys live, in seconds.
        turn: How many connections each of the two opens in its turn.
        concerns_iam: Whether it differs from the steady state for who uses IAM only.
    """

    title: str
    play: Callable[[Stage], Pair]
    rounds: int
    lifetime: float = HOURS
    turn: int = 1
    concerns_iam: bool = True

    @property
    def scale(self) -> float:
        """By how much all of AWS's times are shortened."""
        return HOURS / self.lifetime

    def shortened(self) -> Scenario:
        """Return the same with half the life of keys, for a first look."""
        return replace(self, lifetime=SHORT / 2) if self.lifetime == SHORT else self


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
    stage.elsewhere.set(lifetime=stage.lifetime, delay=SLOW)
    return expiring(stage)


def down(stage: Stage) -> Pair:
    """The same, but that endpoint is down while the keys are due to be renewed."""
    left = _until_their_end(stage)
    begin = stage.together(left + 1)
    for before, failure in zip(OUTAGE, ("refused", None), strict=True):
        _sleep_until(begin + left - before)
        stage.elsewhere.set(lifetime=stage.lifetime, failure=failure)
    return stage.pair()


def fast(stage: Stage) -> Pair:
    """Connect 200 times a second, in short bursts: one fills two cores, so one after the other."""
    one, control = Poured([], 0.0, []), Poured([], 0.0, [])
    turns = ((stage.one, one), (stage.control, control))
    for first in who_begins(round(BURSTS * stage.length)):
        for running, so_far in turns if first else reversed(turns):
            running.order(evenly(begin=soon(), every=FAST, count=BURST))
            burst = running.obeyed()
            so_far.outcomes += burst.outcomes
            so_far.cpu += burst.cpu
    return one, control


def revoked(stage: Stage) -> Pair:
    """Connect after all role sessions were revoked; tokens in hand are worth nothing."""
    begin = stage.together(1 + 8 * stage.length)
    _sleep_until(begin + 1 - EVERY / 2)  # between two connections
    since = time.monotonic()
    stage.elsewhere.revoke()
    one, control = stage.pair()
    both = zip(one.outcomes, control.outcomes, strict=True)
    after = [min(ours.due, theirs.due) >= since for ours, theirs in both]
    return one.kept(after), control.kept(after)


SCENARIOS = {
    "steady": Scenario(title="steady", play=steady, rounds=6, concerns_iam=False),
    "expiring": Scenario(title="keys expire", play=expiring, rounds=5, lifetime=SHORT),
    "slow": Scenario(title="endpoint slow, 2 s", play=slow, rounds=5, lifetime=SHORT),
    "down": Scenario(title="endpoint down, 30 s", play=down, rounds=5, lifetime=OUTLASTED),
    "fast": Scenario(title="200 connects/s", play=fast, rounds=5, turn=BURST, concerns_iam=False),
    "revoked": Scenario(title="keys revoked", play=revoked, rounds=5),
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
        stage = Stage(
            elsewhere=at, one=running, control=floor, lifetime=scenario.lifetime, length=length
        )
        return scenario.play(stage)


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
