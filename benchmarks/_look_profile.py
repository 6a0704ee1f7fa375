"""What one look for AWS keys spends its CPU on, by its largest steps.

`connect_latency.py` runs it in a fresh process whose keys come from STS by a service account's
token. After a first look, which imports the SDK, looks are timed and profiled by turns, in the
current thread. A profiler makes Python's functions slower, but not the one call of C that reads
certificates: so what it adds is taken from all other steps, in proportion.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from rds_iam_async._credentials import SessionCredentials

LOOKS = 9
READS_AUTHORITIES = "load_verify_locations"
CALLS_STS = "_make_api_call"
STEPS = {
    READS_AUTHORITIES: "parses the SDK's file of public certificate authorities "
    "(`load_verify_locations`)",
    "renewed": "makes a session",
    "_create_credential_resolver": "builds the chain of providers",
    "_create_client": "makes a client of STS",
    CALLS_STS: "calls STS, and reads the answer",
}
"""What is done in a function of that name, and in all that it calls."""
REST = "all else"


def look_profile(environment: Mapping[str, str]) -> dict[str, float]:
    """Return the CPU that one look takes in *environment*, in ms by step; the most first."""
    run = [sys.executable, __file__]
    told = subprocess.run(run, check=True, stdout=subprocess.PIPE, env=environment, timeout=60)
    steps: dict[str, float] = json.loads(told.stdout)
    return steps


def steps_of(seen: Mapping[str, float], *, profiled: float, plain: float) -> dict[str, float]:
    """Return what each step takes where there is no profiler; the most first.

    Args:
        seen: By function, what it took under the profiler, with all that it called.
        profiled: What the look took then.
        plain: What it takes without; all in the same unit.

    Raises:
        KeyError: When the SDK has no such function any more.
    """
    reads = seen[READS_AUTHORITIES]
    own = {name: seen[name] for name in STEPS}
    own[CALLS_STS] -= reads  # the context is made when the first request is sent
    slower = (profiled - reads) / (plain - reads)
    steps = {
        words: own[name] / (1.0 if name == READS_AUTHORITIES else slower)
        for name, words in STEPS.items()
    }
    steps[REST] = plain - sum(steps.values())
    return dict(sorted(steps.items(), key=lambda item: -item[1]))


def measured() -> dict[str, float]:
    """Look a number of times, and return the median of each step in milliseconds."""
    source = SessionCredentials()
    plain, profiled, seen = [], [], []
    for turn in range(1 + LOOKS):
        began = time.thread_time()
        look(source)
        took = time.thread_time() - began
        if turn:
            plain.append(took)
            profile = cProfile.Profile(time.thread_time)
            profile.runcall(look, source)
            entries = profile.getstats()
            profiled.append(sum(entry.inlinetime for entry in entries))
            seen.append({name: _spent_in(name, entries) for name in STEPS})
    medians = {name: statistics.median(one[name] for one in seen) for name in STEPS}
    steps = steps_of(medians, profiled=statistics.median(profiled), plain=statistics.median(plain))
    return {words: round(1000 * seconds, 2) for words, seconds in steps.items()}


def look(source: SessionCredentials) -> None:
    """Look in this thread: in one of its own, as `snapshot` does it, it would also rest."""
    asyncio.run(source._look())


def _spent_in(name: str, entries: list[Any]) -> float:
    """Return seconds; entries are of functions, or of what is written in C by its words."""
    codes = [(entry, entry.code) for entry in entries]
    spent = [
        entry.totaltime
        for entry, code in codes
        if (f"'{name}'" in code if isinstance(code, str) else code.co_name == name)
    ]
    if not spent:
        raise KeyError(name)
    return float(sum(spent))


if __name__ == "__main__":
    print(json.dumps(measured()))
