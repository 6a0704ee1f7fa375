"""How long the application's loop stands still while AWS credentials are looked up.

Run it with `make bench`, or `.venv/bin/python benchmarks/loop_stall.py --quick`.

- *Looks*: a 1 ms ticker on the application's loop notes its worst lateness in each look for
  keys, by a refresher of ours, in an application that changes the switch interval or freezes
  what it holds, and on the loop as everybody does it (`aioboto3.Session().get_credentials()`,
  then the frozen ones); and while tokens are minted with keys in hand. In turn, in fresh
  processes; the local AWS is in another one. The first look is counted by itself.
- *Contenders*: the same for all of `connect_latency.py` while they connect, with keys of four
  providers, one of each kind: a token for STS, an agent, the instance's metadata, a portal.
  One after the other, for a few seconds each: so few renewals have a median and a worst.
- *Profile*: what our looks did when the loop was late.

The floor is the idle loop, whose ticker the rest of the machine makes late, too; beside the
contenders it is the static password. The target is 2 ms, 99 times of 100, of our renewals.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import _latency_page
import _looks
from _contender import BrokenError, Contender, contenders
from _looks import Result
from _other_process import Elsewhere
from _results import is_partial, write
from _scenarios import HOST, PASSWORD_USER
from _stall_tables import spread_of
from _stalls import stalls
from _witness import Told

from rds_iam_async.testing import LocalAws

PROVIDERS = [name for name in LocalAws.PROVIDERS if name != "static-session"]
BESIDE = ("web-identity", "container", "imds", "sso")
SHOWN = 8
WAYS = {"ours": 1.0, "switching": 0.5, "frozen": 0.5, "minting": 0.5, "on_the_loop": 0.2}
"""What is measured of each provider, and how often in proportion."""
QUICK = ("static", "ours", "per_connect", "naive_aioboto3")

ByContender = dict[str, dict[str, list[float] | str]]
"""By provider: the worst lateness of each renewal in ms, or why the contender fails."""


def rounds(number: int, count: int, providers: Sequence[str]) -> dict[str, dict[str, Result]]:
    """Measure all ways and providers in turn, each time in a fresh process."""
    found: dict[str, dict[str, Result]] = {
        provider: {way: {} for way in WAYS} for provider in providers
    }
    with Elsewhere() as elsewhere:
        for _ in range(number):
            for provider, of_provider in found.items():
                for way, so_far in of_provider.items():
                    told = looked(way, max(2, round(WAYS[way] * count)), provider, elsewhere)
                    for name, values in told.items():
                        so_far.setdefault(name, []).extend(values)
    return found


def profile(providers: Iterable[str], count: int) -> dict[str, Told]:
    """Return what renewals of ours did while the loop was kept waiting."""
    with Elsewhere() as elsewhere:
        return {provider: looked("witnessed", count, provider, elsewhere) for provider in providers}


def looked(way: str, count: int, provider: str, elsewhere: Elsewhere) -> Any:
    """Look for keys of a provider so often, in a fresh process; return what that says."""
    run = subprocess.run(
        [sys.executable, _looks.__file__, way, str(count)],
        env=elsewhere.environment(provider),
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(run.stdout)


def table(found: dict[str, dict[str, Result]]) -> None:
    print("Worst lateness of a 1 ms ticker in ms: median / 99th percentile, or the worst of n")
    heads = (
        "idle",
        "mint, ours",
        "renewal, ours",
        "switch interval 0.5 ms",
        "after gc.freeze()",
        "on the loop",
        "first look, ours",
        "on the loop",
    )
    print(f"{'':14}", *(f"{head:>22}" for head in heads))
    for provider, ways in found.items():
        cells = [
            ways["ours"]["idle"],
            ways["minting"]["mints"],
            *(ways[way]["renewals"] for way in ("ours", "switching", "frozen", "on_the_loop")),
            *(ways[way]["first"] for way in ("ours", "on_the_loop")),
        ]
        print(f"{provider:14}", *(f"{_cell(values):>22}" for values in cells))


def beside(providers: Sequence[str], who: Iterable[Contender], seconds: float) -> ByContender:
    """Let all contenders renew keys of each provider while they connect."""
    found: ByContender = {}
    with Elsewhere(host=HOST) as elsewhere:
        elsewhere.create_user(*PASSWORD_USER)
        for provider in providers:
            of_provider = found.setdefault(provider, {})
            for one in who:
                try:
                    of_provider[one.name] = stalls(one, provider, elsewhere, seconds)
                except BrokenError as error:
                    of_provider[one.name] = str(error)
    return found


def table_of_contenders(found: ByContender, titles: Mapping[str, str]) -> None:
    print("\nThe same while connections are opened, ms: median / the worst of n")
    print(f"{'':40}", *(f"{provider:>24}" for provider in found))
    for name, title in titles.items():
        cells = [of_provider.get(name, "-") for of_provider in found.values()]
        print(f"{title:40}", *(f"{_cell(values):>24}" for values in cells))
    for provider, of_provider in found.items():
        for name, why in of_provider.items():
            if isinstance(why, str):
                print(f"{titles[name]} fails with {provider}: {why}")


def table_of_waits(found: dict[str, Told], count: int) -> None:
    print(f"\nWhat a look did when the loop came more than 1.5 ms late, in {count} renewals each")
    for provider, waited in found.items():
        for what, noted in list(waited.items())[:SHOWN]:
            print(
                f"{provider:14}{noted['ticks']:4} ticks, {noted['ms']:6.1f} ms, "
                f"worst {noted['worst']:5.1f}  {what} ({noted['place']})"
            )


def _cell(values: list[float] | str) -> str:
    return "fails" if isinstance(values, str) else spread_of(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", "--fast", action="store_true", help="fewer rounds, providers, contenders"
    )
    parser.add_argument("--renewals", type=int, default=100, help="in each process")
    parser.add_argument("--rounds", type=int, default=1, help="processes for each provider and way")
    parser.add_argument("--provider", action="append", choices=PROVIDERS, help="only this one")
    options = parser.parse_args()
    everybody = {name: one for name, one in contenders().items() if one.sole is None}
    partial = is_partial(parser, options)
    providers = options.provider or (BESIDE[:1] if options.quick else BESIDE)
    names = QUICK if options.quick else tuple(everybody)
    seconds = 3.0 if options.quick else 5.0
    looking = options.provider or (BESIDE[:1] if options.quick else PROVIDERS)
    witnessed = options.provider or (BESIDE[:1] if options.quick else BESIDE)
    number, count = (1, 10) if options.quick else (options.rounds, options.renewals)
    looks = rounds(number, count, looking)
    table(looks)
    found = beside(providers, [everybody[name] for name in names], seconds)
    titles = {name: everybody[name].title for name in names}
    table_of_contenders(found, titles)
    waited = profile(witnessed, number * count)
    table_of_waits(waited, number * count)
    result = {
        "looks": looks,
        "contenders": titles,
        "beside": found,
        "profile": waited,
        "profiled": number * count,
    }
    write("loop_stall", result, quick=partial)
    if not partial:
        _latency_page.loop_stall()


if __name__ == "__main__":
    main()
