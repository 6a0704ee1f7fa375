"""How long a new connection takes, beside one with a static password, whatever AWS does.

Run it with `make bench`, or `python benchmarks/connect_latency.py --quick`. Each contender is
a process of its own, where it is a package in an environment of its own, and connects beside
a process that uses a static password: in turn, through the same gate, to the same
PostgreSQL, so that whatever the machine does falls on both. The floor is that static password,
for which the gate and PostgreSQL do what they do for a token; the target is 1.02 times its
median, and 1.10 times its 99th percentile, in each scenario. What the machine's noise makes
of such a ratio is shown by a static password beside a static password.

A connection is a TCP connection, a TLS handshake with a verified certificate, a login, what
SQLAlchemy does with a new connection, and `select 1`. It counts from the instant at which
it was due, not from when a loop that stood still got round to it.

Where keys end, all of AWS's times are shortened to a 300th: keys live 12 s instead of an
hour. The windows in which botocore renews keys, the time-outs of caches, and our policy are
shortened alike. What is real is not: the 2 s of a slow endpoint, and an outage of 3 s. The SDK's
own retries are off (`AWS_MAX_ATTEMPTS=1`): they would make who waits for them wait longer.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from typing import Any

import _latency_page
from _contender import BrokenError, Contender, contenders
from _other_process import Elsewhere
from _percentiles import Round, compared, summary
from _results import write
from _scenarios import HOST, PASSWORD_USER, SCENARIOS, Scenario, run

WITHOUT_IAM = ("static", "scram", "static_psycopg")
OFTEN = ("ours", "static")
"""Measured in each round; the others are so far from the floor that few rounds do."""
QUICK = {"scenarios": ("steady", "slow", "revoked"), "contenders": ("ours", "per_connect")}

Found = dict[str, dict[str, list[Round]]]
"""Rounds by scenario and contender."""


def measure(
    scenarios: list[str], who: list[Contender], *, rounds: int, length: float
) -> tuple[Found, dict[str, str]]:
    """Measure all, in an order that differs from round to round; Ctrl-C ends it early.

    Returns:
        The rounds; and why contenders do not work at all.
    """
    found: Found = {scenario: {} for scenario in scenarios}
    broken: dict[str, str] = {}
    with Elsewhere(host=HOST) as elsewhere, contextlib.suppress(KeyboardInterrupt):
        elsewhere.create_user(*PASSWORD_USER)
        for turn in range(rounds):
            for name in scenarios:
                taking_part = [one for one in who if _takes_part(one, name, turn)]
                for one in random.sample(taking_part, len(taking_part)):
                    result = _measure_one(SCENARIOS[name], one, elsewhere, length)
                    if isinstance(result, str):
                        broken[one.name] = result
                    else:
                        found[name].setdefault(one.name, []).append(result)
                        _say(turn, name, one, result)
    return {name: of_scenario for name, of_scenario in found.items() if of_scenario}, broken


def _measure_one(
    scenario: Scenario, one: Contender, elsewhere: Elsewhere, length: float
) -> Round | str:
    """Return what one round found, or why there was none."""
    try:
        return compared(*run(scenario, one, contenders()[one.control], elsewhere, length))
    except BrokenError as error:
        return str(error)


def _takes_part(one: Contender, scenario: str, turn: int) -> bool:
    if SCENARIOS[scenario].concerns_iam and one.name in WITHOUT_IAM:
        return False
    if one.sole not in (None, scenario):
        return False
    return turn == 0 or one.name in OFTEN


def _say(turn: int, scenario: str, one: Contender, result: Round) -> None:
    """Tell who waits how it goes."""
    ms = result.one.ms
    print(
        f"{time.strftime('%H:%M:%S')}  round {turn + 1}  {scenario:9}  {one.name:20}"
        f"{ms['p50']:8.1f} {ms['p99']:8.1f} ms, failed {result.one.failed}",
        file=sys.stderr,
    )


def as_json(found: Found, broken: dict[str, str]) -> dict[str, Any]:
    titles = {name: one.title for name, one in contenders().items()}
    return {
        "scenarios": {name: SCENARIOS[name].title for name in found},
        "contenders": titles,
        "broken": broken,
        "found": {
            name: {one: summary(rounds) for one, rounds in of_scenario.items()}
            for name, of_scenario in found.items()
        },
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
            for error, times_seen in got["errors"].items():
                print(f"{'':8}{times_seen} × {error[:110]}")
    for one, why in result["broken"].items():
        print(f"\n{result['contenders'][one]} does not connect: {why}")


def _cell(value: float | None, form: str) -> str:
    return f"{'-':>{form.partition('.')[0]}}" if value is None else format(value, form)


def main() -> None:
    everybody = contenders()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", "--fast", action="store_true", help="a first look, in a minute")
    parser.add_argument("--rounds", type=int, default=3, help="of ours; of the others one")
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="only this one")
    parser.add_argument("--contender", action="append", choices=everybody, help="only this one")
    options = parser.parse_args()
    scenarios = options.scenario or (QUICK["scenarios"] if options.quick else SCENARIOS)
    names = options.contender or (QUICK["contenders"] if options.quick else everybody)
    who = [one for one in everybody.values() if one.name in names]
    found, broken = measure(
        list(scenarios),
        who,
        rounds=1 if options.quick else options.rounds,
        length=0.25 if options.quick else 1.0,
    )
    result = as_json(found, broken)
    partial = bool(options.quick or options.scenario or options.contender)
    write("connect_latency", result, quick=partial)
    table(result)
    if not partial:
        _latency_page.connect_latency()


if __name__ == "__main__":
    main()
