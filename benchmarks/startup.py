"""What it costs to begin: importing, the first token, the first connection.

Run it with `make bench`, or `.venv/bin/python benchmarks/startup.py --quick`. Each figure is of
a fresh process, in turn with the others; medians, of differences and shares those within one round.
All modules are compiled beforehand, ours and others', as after `pip install`. The floors:

- Import: an application that has SQLAlchemy's asyncio, asyncpg and an engine. The target is
  15 ms more.
- First token: the RDS-client way, `aioboto3.Session().client("rds")`, from the import of the
  SDK to the token, in such an application. Ours is `token()`, from our import on. The target
  is a third of it; and no service model of RDS is to be read. What limits it is the import of
  the SDK: its profile is taken, too. Beside it `start()`, which ends with all that connections
  need, for which the RDS-client way has nothing.
- First connection: the same two ways, through the gate of a local RDS.
- Worst loop stall on the way there, in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _import_profile import Profile, median_profile, modules_of, profile_of
from _other_process import Elsewhere
from _results import is_partial, write
from _startup_ways import CONNECTIONS, IMPORTS, STARTS, TOKENS, WAYS, Found
from _targets import STARTUP

WAYS_FILE = Path(__file__).with_name("_startup_ways.py")
PROVIDERS = ("static", "container", "web-identity")
LIKE_IN_PRODUCTION = "web-identity"
FLOOR = "SQLAlchemy's asyncio and asyncpg, and an engine"
ENGINE = "import sqlalchemy.ext.asyncio as sa, asyncpg; sa.create_async_engine('{}')"
PROFILED = {
    "ours": "from rds_iam_async import TokenRefresher",
    "the SDK, for us": "import aiobotocore.session",
    "the SDK, for an RDS client": "import aioboto3",
}

Runs = dict[str, dict[str, list[Found]]]


def ways_of(provider: str) -> tuple[str, ...]:
    """Return what is measured with its keys: connections with the slowest ones only."""
    return (*TOKENS, *STARTS, *(CONNECTIONS if provider == LIKE_IN_PRODUCTION else ()))


def measured(how: str, what: str, environment: Mapping[str, str]) -> Found:
    run = subprocess.run(
        [sys.executable, WAYS_FILE, how, what], env=environment, stdout=subprocess.PIPE, check=True
    )
    found: Found = json.loads(run.stdout)
    return found


def rounds(number: int, *, providers: tuple[str, ...], stalls: int) -> Runs:
    runs: Runs = {
        "import": {name: [] for name in (FLOOR, *IMPORTS)},
        **{provider: {name: [] for name in ways_of(provider)} for provider in providers},
    }
    with tempfile.TemporaryDirectory() as bytecode, Elsewhere() as elsewhere:
        elsewhere.set(lifetime=3600)
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode}
        environments = {
            provider: elsewhere.environment(provider) | {"DATABASE_URL": elsewhere.url, **compiled}
            for provider in providers
        }
        for name in WAYS:  # what each imports is compiled from now on
            measured("way", name, environments[LIKE_IN_PRODUCTION])
        for turn in range(number):
            for name, found in runs["import"].items():
                how = "floor" if name == FLOOR else "import"
                found.append(measured(how, name, {**os.environ, **compiled}))
            for provider in providers:
                for name, found in runs[provider].items():
                    one = measured("way", name, environments[provider])
                    if turn < stalls:
                        one |= measured("stall", name, environments[provider])
                    found.append(one)
    return runs


def profiles(number: int) -> dict[str, Profile]:
    """Return whose modules an import executes, on top of the floor's, and for how long."""
    from _startup_ways import UNKNOWN

    with tempfile.TemporaryDirectory() as bytecode:
        environment = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": bytecode,
        }

        def report(statements: str) -> str:
            command = [sys.executable, "-X", "importtime", "-c", statements]
            return subprocess.run(
                command, env=environment, stderr=subprocess.PIPE, text=True, check=True
            ).stderr

        engine = ENGINE.format(UNKNOWN)
        floor = modules_of(report(engine))
        found: dict[str, list[Profile]] = {name: [] for name in PROFILED}
        for turn in range(number + 1):
            for name, statement in PROFILED.items():
                one = profile_of(report(f"{engine}\n{statement}"), but=floor)
                if turn > 0:  # the first compiles
                    found[name].append(one)
    return {name: median_profile(those) for name, those in found.items()}


def medians(runs: list[Found]) -> Found:
    names = {name: None for run in runs for name in run}
    return {
        name: round(statistics.median(run[name] for run in runs if name in run), 2)
        for name in names
    }


def shares(of_provider: dict[str, list[Found]]) -> dict[str, float]:
    """Return what each first token of ours takes of the client's in the same round."""
    theirs = of_provider["token, RDS client"]
    return {
        name: round(
            statistics.median(one["ms"] / its["ms"] for one, its in zip(runs, theirs, strict=True)),
            2,
        )
        for name, runs in of_provider.items()
        if name in TOKENS and runs is not theirs
    }


def table(found: dict[str, dict[str, Found]]) -> None:
    for group, of_group in found.items():
        print(f"{group}:")
        for name, figures in of_group.items():
            cells = [f"{figures['ms']:8.1f} ms", f"CPU {figures['cpu_ms']:6.1f} ms"]
            if "MiB" in figures:
                cells.append(f"{figures['MiB']:6.1f} MiB")
            if "stall_ms" in figures:
                cells.append(f"worst stall {figures['stall_ms']:6.0f} ms")
            cells.append("reads the RDS model" if figures.get("rds_model_read") else "")
            print(f"  {name:52}" + "  ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one round, one source of keys")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.quick:
        runs = rounds(1, providers=(LIKE_IN_PRODUCTION,), stalls=0)
    else:
        runs = rounds(options.rounds, providers=PROVIDERS, stalls=2)
    found = {
        group: {name: medians(those) for name, those in of_group.items()}
        for group, of_group in runs.items()
    }
    table(found)
    summary: dict[str, Any] = {
        "targets": STARTUP,
        "import_above": found["import"]["the same, and an engine attached"]["ms"],
        "token_share": {name: shares(of) for name, of in runs.items() if name in PROVIDERS},
        "profiles": profiles(1 if options.quick else 3),
    }
    for name, value in summary.items():
        print(f"{name}: {value}")
    write("startup", {**summary, **found}, quick=is_partial(parser, options))


if __name__ == "__main__":
    main()
