"""How long the application's loop stands still while AWS credentials are looked up.

Run it with `make bench`, or `python benchmarks/loop_stall.py --quick`. A 1 ms ticker on the
application's loop notes its worst lateness in each look: by a refresher of ours, and on the
loop as everybody does it (`await aioboto3.Session().get_credentials()`, then the frozen
ones), in turn, in fresh processes; the local AWS is in another one. Medians on two slow
cores: 1 to 3 ms per renewal, where the loop stalls for 8 to 95 ms if it does that itself.
A second table does the same for all contenders of `connect_latency.py` while they connect.
The target is 2 ms, 99 times of 100.

What the rest is made of. A thread of its own is not enough (5 to 9 ms), since the
interpreter lock is shared, and Python code lets go of it when 5 ms are over
(`sys.getswitchinterval`), later if a system call of less than that comes in between. So what
counts is the longest piece of work between two real rests of the look:

- 4 ms were the 120 event handlers of a new session; now they are copied, in 0.3 ms.
- 16, 9 and 8 ms were `endpoints.json` and the two models of STS, each one call of C that
  lets nobody in between; now they are kept, and parsed in small bites the first time.
- 1 to 2 ms are left for the profile files and the chain, 2 to 3 ms for making a client of STS
  or SSO, 2 ms for its request: there the look rests in between. That is what the table shows.
- 17 ms for the certificates of a TLS context are spent without the lock.

What stays above 5 ms. The first look imports the SDK: 300 ms, much of it in stretches that
last as long as the switch interval, so 5.3 to 6.6 ms. And the garbage collector: 60 to
80 ms for a full collection of the 110 000 objects that there are once the SDK is imported,
in whichever thread comes to have it done: a process has it once, in its first look (STS and
SSO, always on this machine) or one of the next (the worst of all, in the others). These are
Python 3.11's; on 3.13 renewals cost the same, and any first look 25 to 42 ms. Only a process
of its own for the look could avoid both. But `start()` makes the first look, before
the application serves anybody.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence

import _latency_page
import _looks
from _contender import BrokenError, Contender, contenders
from _looks import WAYS, Result
from _other_process import Elsewhere
from _percentiles import percentile
from _results import write
from _scenarios import HOST, PASSWORD_USER
from _stalls import stalls

from rds_iam_async.testing import LocalAws

PROVIDERS = [name for name in LocalAws.PROVIDERS if name != "static-session"]
BESIDE = ("web-identity", "container", "imds", "sso")
SHOWN = 8
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
                    run = subprocess.run(
                        [sys.executable, _looks.__file__, way, str(count)],
                        env=elsewhere.environment(provider),
                        stdout=subprocess.PIPE,
                        check=True,
                    )
                    for name, values in json.loads(run.stdout).items():
                        so_far.setdefault(name, []).extend(values)
    return found


def profile(providers: Sequence[str], count: int) -> dict[str, dict[str, float]]:
    """Return for how many ms a renewal of ours kept the loop waiting, by what it did then."""
    with Elsewhere() as elsewhere:
        return {
            provider: json.loads(
                subprocess.run(
                    [sys.executable, _looks.__file__, "witnessed", str(count)],
                    env=elsewhere.environment(provider),
                    stdout=subprocess.PIPE,
                    check=True,
                ).stdout
            )
            for provider in providers
        }


def table(found: dict[str, dict[str, Result]]) -> None:
    print("Worst lateness of a 1 ms ticker in ms, medians  (… the worst of all)")
    print(f"{'':14}{'idle':>6}{'renewal, ours':>18}{'on the loop':>14}", end="")
    print(f"{'first look, ours':>20}{'on the loop':>14}")
    for provider, of_provider in found.items():
        mine, theirs = of_provider["ours"], of_provider["on_the_loop"]
        cells = [mine["idle"] + theirs["idle"]]
        cells += [way[name] for name in ("renewals", "first") for way in (mine, theirs)]
        middle = [f"{statistics.median(values):.1f}" for values in cells]
        most = f"{middle[1]} (… {max(mine['renewals']):.0f})"
        print(f"{provider:14}{middle[0]:>6}{most:>18}{middle[2]:>14}{middle[3]:>20}{middle[4]:>14}")


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
    print("\nThe same while connections are opened, ms: median / 99th percentile (… the worst)")
    print(f"{'':40}", *(f"{provider:>24}" for provider in found))
    for name, title in titles.items():
        cells = [of_provider.get(name, "-") for of_provider in found.values()]
        print(f"{title:40}", *(f"{_cell(values):>24}" for values in cells))


def table_of_waits(found: dict[str, dict[str, float]]) -> None:
    print("\nWhat a renewal of ours did when the loop came more than 1.5 ms late: ms per renewal")
    for provider, waited in found.items():
        for what, ms in list(waited.items())[:SHOWN]:
            print(f"{provider:14}{ms:8.2f}  {what}")


def _cell(values: list[float] | str) -> str:
    if isinstance(values, str):
        return "fails"
    p50, p99 = (percentile(values, share) for share in (50, 99))
    return f"{p50:.1f} / {p99:.1f} (… {max(values):.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", "--fast", action="store_true", help="fewer rounds, providers, contenders"
    )
    parser.add_argument("--renewals", type=int, default=5, help="in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes for each provider and way")
    parser.add_argument("--provider", action="append", choices=PROVIDERS, help="only this one")
    options = parser.parse_args()
    everybody = {name: one for name, one in contenders().items() if one.sole is None}
    partial = bool(options.quick or options.provider)
    providers = options.provider or (BESIDE[:1] if options.quick else BESIDE)
    names = QUICK if options.quick else tuple(everybody)
    seconds = 3.0 if options.quick else 5.0
    looked = options.provider or (BESIDE[:2] if options.quick else PROVIDERS)
    looks = rounds(1 if options.quick else options.rounds, options.renewals, looked)
    table(looks)
    found = beside(providers, [everybody[name] for name in names], seconds)
    titles = {name: everybody[name].title for name in names}
    table_of_contenders(found, titles)
    waited = profile(providers[:2], 5 if options.quick else 30)
    table_of_waits(waited)
    result = {"looks": looks, "contenders": titles, "beside": found, "profile": waited}
    write("loop_stall", result, quick=partial)
    if not partial:
        _latency_page.loop_stall()


if __name__ == "__main__":
    main()
