"""What a fleet costs AWS: 100 000 processes of one deployment, a day on a virtual clock.

Run it with `make bench`, or `.venv/bin/python benchmarks/fleet.py --quick`. Each process decides by
the project's real schedule (`_fleet_process.py`); its keys are its own and live an hour, as
STS gives them (AssumeRole, AssumeRoleWithWebIdentity). STS is down for 30 minutes at noon,
and refuses at once, which is the worst that it can do to those who try again. One more fleet
has it down for an hour, in which keys die.

Measured against: the mean rate of the day after its first hour. The target is that no second
sees more than three times that. "No spread" is `RefreshPolicy(spread=0)`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from _fleet_process import Process
from _results import is_partial, write
from _targets import FLEET

from rds_iam_async import RefreshPolicy

HOUR = 3600
KEYS_LIVE = 3600.0
OUTAGE = 1800
CHUNK = 1000

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One fleet for one day.

    Attributes:
        rollout: Seconds in which its processes are started, evenly, from midnight.
        spread: As of `RefreshPolicy`.
        processes: How many.
        hours: How long the day is.
        outage: Seconds for which STS is down, from the middle of the day.
    """

    rollout: float
    spread: float
    processes: int
    hours: int
    outage: int = OUTAGE

    @property
    def seconds(self) -> int:
        return self.hours * HOUR

    @property
    def down(self) -> tuple[int, int]:
        return self.seconds // 2, self.seconds // 2 + self.outage


def part(scenario: Scenario, seed: int) -> tuple[Counts, Counts]:
    """Return the calls of STS, and the mints, in each second of the day, of a part of a fleet."""
    draw = random.Random(seed).random
    policy = RefreshPolicy(spread=scenario.spread)
    fleet = Process(policy=policy, keys_live=KEYS_LIVE, draw=draw, down=scenario.down)
    for _ in range(min(CHUNK, scenario.processes)):
        fleet.live(scenario.rollout * draw(), scenario.seconds)
    return _per_second(fleet.calls, scenario), _per_second(fleet.mints, scenario)


def _per_second(instants: list[float], scenario: Scenario) -> Counts:
    return np.bincount(np.array(instants).astype(int), minlength=scenario.seconds)


def run(scenario: Scenario, pool: Any) -> dict[str, Any]:
    seeds = range(max(1, scenario.processes // CHUNK))
    parts = pool.starmap(part, [(scenario, seed) for seed in seeds])
    calls = sum(calls for calls, _ in parts)
    mints = sum(mints for _, mints in parts)
    return {
        "rollout": scenario.rollout,
        "spread": scenario.spread,
        "outage": scenario.outage,
        "calls": summary(calls, scenario),
        "mints": summary(mints, scenario),
    }


def summary(counts: Counts, scenario: Scenario) -> dict[str, Any]:
    """Return the mean rate after the first hour, the worst seconds beside it, and a curve.

    The mean leaves the outage out, and the hour after it, so as not to be flattered by what
    it is the measure of.
    """
    began, ended = scenario.down
    quiet = np.concatenate([counts[HOUR:began], counts[ended + HOUR :]])
    mean = float(quiet.mean())
    return {
        "mean": round(mean, 1),
        "first_hour_peak": int(counts[:HOUR].max()),
        "quiet_peak": int(quiet.max()),
        "outage_peak": int(counts[began:ended].max()),
        "after_outage_peak": int(counts[ended : ended + HOUR].max()),
        "worst_ratio": round(float(counts[HOUR:].max()) / mean, 2),
        "busiest_second_in_each_five_minutes": counts.reshape(-1, 300).max(axis=1).tolist(),
    }


def table(found: list[dict[str, Any]]) -> None:
    print(
        f"{'started in':>12}{'spread':>8}{'':>7}{'mean/s':>8}  worst second, as a multiple of it:"
    )
    print(f"{'':35}{'quiet':>12}{'outage':>10}{'after it':>10}{'first hour':>12}")
    for one in found:
        for what in ("calls", "mints"):
            rates = one[what]
            times = [
                rates[name] / rates["mean"]
                for name in ("quiet_peak", "outage_peak", "after_outage_peak", "first_hour_peak")
            ]
            print(
                f"{one['rollout']:>10g} s{one['spread']:>6g} s{one['outage'] // 60:>6} min"
                f"{what:>7}{rates['mean']:>8.0f}"
                f"{times[0]:>10.1f}{times[1]:>10.1f}{times[2]:>10.1f}{times[3]:>12.1f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="six hours instead of a day")
    parser.add_argument("--processes", type=int, default=100_000)
    options = parser.parse_args()
    hours = 6 if options.quick else 24
    usual = Scenario(
        rollout=600.0, spread=RefreshPolicy().spread, processes=options.processes, hours=hours
    )
    scenarios = [
        replace(usual, rollout=rollout, spread=spread)
        for rollout in (600.0, 1.0)
        for spread in (usual.spread, 0.0)
    ]
    scenarios.append(replace(usual, outage=2 * OUTAGE))
    with multiprocessing.Pool(os.cpu_count()) as pool:
        found = [run(scenario, pool) for scenario in scenarios]
    table(found)
    write(
        "fleet",
        {"processes": options.processes, "hours": hours, "target": FLEET, "scenarios": found},
        quick=is_partial(parser, options),
    )


if __name__ == "__main__":
    main()
