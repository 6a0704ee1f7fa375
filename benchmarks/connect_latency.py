"""How long a new connection takes, beside one with a static password, whatever AWS does.

Run it with `make bench`, or `.venv/bin/python benchmarks/connect_latency.py --quick`. Each
contender is a process of its own, where it is a package in an environment of its own, and
connects beside a process that uses a static password: in turn, in an order drawn by lot,
through the same gate, to the same PostgreSQL, so that whatever the machine does falls on both.
The floor is that static password, for which the gate and PostgreSQL do what they do for a
token; the target is 1.02 times its median, and 1.10 times its 99th percentile, in each
scenario. In full it takes about 25 minutes.

What the machine's noise makes of such a ratio is shown by the interval beside it, in which
it lies with 95 % of confidence, and by a static password beside a static password. A target
is met where all of the interval is within it, and missed where none of it is.

A connection is a TCP connection, a TLS handshake with a verified certificate, a login, what
SQLAlchemy does with a new connection, and `select 1`. It counts from the instant at which
it was due, not from when a loop that stood still got round to it.

Where keys end, all of AWS's times are shortened: keys live 20 s (40 s where the endpoint is
down) instead of an hour. The windows in which botocore renews keys, the time-outs of caches,
and our policy are shortened alike. What is real is not: the 2 s of a slow endpoint, and an
outage of 30 s. The SDK's own retries are off (`AWS_MAX_ATTEMPTS=1`): they would make who waits
for them wait longer.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import _latency_page
from _contender import BrokenError, Contender, contenders
from _look_profile import look_profile
from _other_process import Elsewhere
from _percentiles import Round, compared
from _results import write
from _scenarios import EVERY, HOST, HOURS, PASSWORD_USER, SCENARIOS, Scenario, environment, run
from _summary import summary
from _timeline import Timeline, of_the_first_refused, typical

WITHOUT_IAM = ("static", "scram", "static_psycopg")
ROUNDS = {"ours": math.inf, "static": 5}
"""Who takes part in how many at most; the others are so far from the floor that one does."""
SECOND = round(0.5 / EVERY)
"""Connections of either of the two in a second."""
QUICK = {"scenarios": ("steady", "slow", "revoked"), "contenders": ("ours", "per_connect")}
SHARE_OF_OTHERS = 0.5
"""Of the length of a round, likewise."""


@dataclass
class Found:
    """What was measured so far.

    Attributes:
        rounds: By scenario and contender.
        broken: Why contenders do not work at all.
        timelines: Of the connections of ours that were the first to be refused.
        look: What a look for keys spends its CPU on, in ms by step.
        interrupted: Whether Ctrl-C ended it before all was measured.
    """

    rounds: dict[str, dict[str, list[Round]]]
    broken: dict[str, str] = field(default_factory=dict[str, str])
    timelines: list[Timeline] = field(default_factory=list[Timeline])
    look: dict[str, float] = field(default_factory=dict[str, float])
    interrupted: bool = True


def measure(
    scenarios: Mapping[str, Scenario],
    who: Sequence[Contender],
    *,
    rounds: int | None,
    length: float,
) -> Found:
    """Measure all, in an order that differs from round to round; Ctrl-C ends it early.

    Args:
        scenarios: Which, by name.
        who: Whom.
        rounds: How many of ours; `None` for each scenario's own number.
        length: By how much shorter than in full, from 0 to 1.
    """
    found = Found(rounds={name: {} for name in scenarios})
    with Elsewhere(host=HOST) as elsewhere, contextlib.suppress(KeyboardInterrupt):
        elsewhere.create_user(*PASSWORD_USER)
        elsewhere.set(lifetime=HOURS)
        found.look = look_profile(environment(elsewhere, "web-identity", 1.0))
        for turn in range(rounds or max(one.rounds for one in scenarios.values())):
            for name, scenario in scenarios.items():
                if turn >= (rounds or scenario.rounds):
                    continue
                taking_part = [one for one in who if takes_part(one, name, turn)]
                for one in random.sample(taking_part, len(taking_part)):
                    _measure_one(found, name, scenario, one, elsewhere, length)
        found.interrupted = False
    found.rounds = {name: of_scenario for name, of_scenario in found.rounds.items() if of_scenario}
    return found


def _measure_one(
    found: Found,
    name: str,
    scenario: Scenario,
    one: Contender,
    elsewhere: Elsewhere,
    length: float,
) -> None:
    """Add what one round found, or why there was none."""
    length *= 1.0 if one.name in ROUNDS else SHARE_OF_OTHERS
    try:
        poured, control = run(scenario, one, contenders()[one.control], elsewhere, length)
    except BrokenError as error:
        found.broken[one.name] = str(error)
        return
    result = compared(poured, control, turn=max(scenario.turn, SECOND))
    found.rounds[name].setdefault(one.name, []).append(result)
    if (name, one.name) == ("revoked", "ours"):
        timeline = of_the_first_refused(
            poured,
            elsewhere.logins(),
            elsewhere.calls(),
            to_monotonic=time.monotonic() - time.time(),
        )
        found.timelines += [] if timeline is None else [timeline]
    _say(name, one, result)


def takes_part(one: Contender, scenario: str, turn: int) -> bool:
    """Return whether a contender is measured in that round of a scenario, from 0."""
    if SCENARIOS[scenario].concerns_iam and one.name in WITHOUT_IAM:
        return False
    if one.sole not in (None, scenario) or scenario in one.absent:
        return False
    return turn < ROUNDS.get(one.name, 1)


def _say(scenario: str, one: Contender, result: Round) -> None:
    """Tell who waits how it goes."""
    ms, floor = result.one.ms, result.control.ms
    print(
        f"{time.strftime('%H:%M:%S')}  {scenario:9}  {one.name:20}"
        f"{ms['p50']:8.1f} ({floor['p50']:.1f}){ms['p99']:8.1f} ({floor['p99']:.1f}) ms,"
        f" failed {result.one.failed}",
        file=sys.stderr,
    )


def as_json(found: Found) -> dict[str, Any]:
    titles = {name: one.title for name, one in contenders().items()}
    return {
        "scenarios": {name: SCENARIOS[name].title for name in found.rounds},
        "contenders": titles,
        "broken": found.broken,
        "found": {
            name: {one: summary(rounds) for one, rounds in of_scenario.items()}
            for name, of_scenario in found.rounds.items()
        },
        "timeline": typical(found.timelines) if found.timelines else {},
        "look": found.look,
    }


def table(result: dict[str, Any]) -> None:
    """Print one block for each scenario."""
    for name, of_scenario in result["found"].items():
        print(f"\n{result['scenarios'][name]}: ms, and times the static password's")
        print(
            f"{'':40}{'p50':>8}{'p95':>9}{'p99':>9}{'max':>9}{'p50':>9}{'p99':>8}{'CPU':>9}{'failed':>10}"
        )
        for one in [each for each in result["contenders"] if each in of_scenario]:
            got = of_scenario[one]
            ms = [_cell(got["ms"][key], "9.1f") for key in ("p50", "p95", "p99", "max")]
            times = [_cell(got["ratio"][key], "7.2f") for key in ("p50", "p99")]
            times.append(_cell(got["cpu_ratio"], "7.2f"))
            failed = f"{got['failed']}/{got['connects']}"
            title = result["contenders"][one]
            print(f"{title:39}{''.join(ms)} ×{times[0]} ×{times[1]} ×{times[2]}{failed:>10}")
            for which, interval in got["within"].items():
                if interval is not None and got["rounds"] > 1:
                    print(f"{'':8}{which}: × {interval[0]:.3f} to {interval[1]:.3f}")
            for error, times_seen in got["errors"].items():
                print(f"{'':8}{times_seen} × {error[:110]}")
    for one, why in result["broken"].items():
        print(f"\n{result['contenders'][one]} does not connect: {why}")
    for step, ms in result["timeline"].items():
        print(f"{ms:9.1f} ms  {step}")
    print("\nOne look for keys, CPU:")
    for step, ms in result["look"].items():
        print(f"{ms:9.1f} ms  {step}")


def _cell(value: float | None, form: str) -> str:
    return f"{'-':>{form.partition('.')[0]}}" if value is None else format(value, form)


def main() -> None:
    everybody = contenders()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", "--fast", action="store_true", help="a first look, in a minute")
    parser.add_argument("--rounds", type=int, help="of ours; of the others one")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one")
    parser.add_argument("--contender", action="append", choices=everybody, help="only this one")
    options = parser.parse_args()
    names = options.scenario or (QUICK["scenarios"] if options.quick else SCENARIOS)
    scenarios = {name: SCENARIOS[name] for name in names}
    if options.quick:
        scenarios = {name: one.shortened() for name, one in scenarios.items()}
    who = options.contender or (QUICK["contenders"] if options.quick else everybody)
    found = measure(
        scenarios,
        [one for one in everybody.values() if one.name in who],
        rounds=1 if options.quick else options.rounds,
        length=0.25 if options.quick else 1.0,
    )
    result = as_json(found)
    in_full = is_in_full(found, options)
    write("connect_latency", result, quick=not in_full)
    table(result)
    if in_full:
        _latency_page.connect_latency()


def is_in_full(found: Found, options: argparse.Namespace) -> bool:
    """Return whether all was measured, as often as it should be: only then it is published."""
    less = (options.quick, options.rounds, options.scenario, options.contender)
    return not (found.interrupted or any(less))


if __name__ == "__main__":
    main()
