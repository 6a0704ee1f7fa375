"""What a refresher costs by the number of its endpoints: 1, 10, 100, 1 000 and 10 000.

Run it with `make bench`, or `python benchmarks/size.py --quick`. Each size has a process of
its own, in which all endpoints are due at the same instant, which is the worst case: the
spread is off, and a clock is wound by ten minutes.

- CPU of a refresh cycle, beside the floor: signing as many tokens, and doing nothing else.
- Worst loop stall meanwhile, by a ticker of 1 ms; an idle loop beside it. And the most work
  between two ticks, in CPU time: the stall that the refresher itself is to blame for.
- Memory per endpoint: what `attach` and the first token allocate, by tracemalloc, without
  the text of the token and without the engine itself. The floor is what SQLAlchemy takes to
  register any listener of `do_connect`, such as one that sets a constant password.
- Time to attach, and time of `status()`.

The curve is to be a straight line; the slope is its price per endpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, Self

import anyio
from _results import write
from _ticker import Ticker
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from rds_iam_async import Credentials, Endpoint, RefreshPolicy, TokenRefresher
from rds_iam_async._clock import SystemClock
from rds_iam_async._mint import mint
from rds_iam_async.telemetry import Event, TokenMinted

SIZES = (1, 10, 100, 1_000, 10_000)
TEN_MINUTES = 600.0
TARGETS = {"stall_ms": 5.0, "times_pure_signing": 1.3, "bytes_per_endpoint": 3 * 1024}
KEYS = Credentials(
    access_key_id="ASIAEXAMPLEEXAMPLEEX",
    secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    session_token="IQoJb3JpZ2luX2Vj" * 60,
)


class Source:
    async def snapshot(self) -> Credentials:
        return KEYS


class WoundClock(SystemClock):
    """The machine's clocks, until they are wound: everybody who sleeps wakes up later."""

    def __init__(self) -> None:
        super().__init__()
        real = self.wall, self.boot, self.monotonic
        self._ahead = 0.0
        self.wall, self.boot, self.monotonic = (self._wound(clock) for clock in real)
        self._rings = anyio.Event()

    def _wound(self, clock: Any) -> Any:
        return lambda: clock() + self._ahead

    def wind(self, seconds: float) -> None:
        self._ahead += seconds
        self._rings.set()
        self._rings = anyio.Event()

    async def wait(self, event: anyio.Event, seconds: float) -> None:
        if seconds > 0:
            rings = asyncio.ensure_future(self._rings.wait())
            told = asyncio.ensure_future(event.wait())
            waiters = [rings, told]
            try:
                await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for waiter in waiters:
                    waiter.cancel()


class Mints:
    """An observer that knows when all have been minted."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.count = 0
        self.all = asyncio.Event()

    def __call__(self, what: Event) -> None:
        if isinstance(what, TokenMinted):
            self.count += 1
            if self.count % self._size == 0:
                self.all.set()


class Bench:
    """A refresher of so many endpoints, and what is measured of it."""

    def __init__(self, size: int) -> None:
        self.clock = WoundClock()
        self.mints = Mints(size)
        self.engines = [engine(number) for number in range(size)]
        self.refresher = TokenRefresher(
            credentials=Source(),
            region="eu-west-1",
            policy=RefreshPolicy(spread=0),
            observe=self.mints,
            clock=self.clock,
        )
        self.endpoints: list[Endpoint] = []

    def attach(self) -> float:
        """Return the CPU seconds that it takes for all, without the garbage collector's.

        That goes through all that the process holds whenever it has grown by a quarter, and
        so costs now nothing and now seconds, whoever grows.
        """
        gc.disable()
        began = time.thread_time()
        self.endpoints = [self.refresher.attach(engine) for engine in self.engines]
        took = time.thread_time() - began
        gc.enable()
        return took

    async def cycle(self) -> None:
        """Let all tokens be due, and wait until each has its successor."""
        self.mints.all.clear()
        self.clock.wind(TEN_MINUTES)
        await self.mints.all.wait()

    async def cpu_of_cycle(self) -> float:
        began = time.thread_time()
        await self.cycle()
        return time.thread_time() - began

    def cpu_of_signing(self) -> float:
        began = time.thread_time()
        for endpoint in self.endpoints:
            mint(endpoint, KEYS, now=1e9)
        return time.thread_time() - began

    def cpu_of_status(self) -> float:
        began = time.thread_time()
        self.refresher.status()
        return time.thread_time() - began

    def token_text(self) -> int:
        """Return the bytes of the texts of all tokens."""
        tokens = [mint(endpoint, KEYS, now=1e9).password for endpoint in self.endpoints]
        return sum(sys.getsizeof(token) for token in tokens)


def engine(number: int) -> AsyncEngine:
    host = f"tenant{number}.abc.eu-west-1.rds.amazonaws.com"
    return create_async_engine(f"postgresql+asyncpg://app@{host}/orders")


async def warm_up() -> None:
    """Have imported and cached what all refreshers and engines share."""
    bench = Bench(1)
    bench.attach()
    await bench.refresher.start()
    await bench.refresher.aclose()


async def memory(size: int) -> dict[str, float]:
    """Return the bytes that each endpoint takes, and each listener that does nothing with one."""
    await warm_up()
    bench = Bench(size)
    with Taken() as ours:
        bench.attach()
        await bench.refresher.start()
    await bench.refresher.aclose()
    engines = [engine(number).sync_engine for number in range(size)]
    with Taken() as listeners:
        for each in engines:
            event.listen(each, "do_connect", constant())
    return {
        "bytes_per_endpoint": (ours.bytes - listeners.bytes - bench.token_text()) / size,
        "bytes_per_listener": listeners.bytes / size,
    }


def constant() -> Callable[..., None]:
    """Return a listener of its own for one engine, as a closure over its password would be."""

    def listener(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> None:
        cparams["password"] = "a static password"

    return listener


class Taken:
    """The memory that is allocated in between, and not freed again."""

    bytes = 0

    def __enter__(self) -> Self:
        gc.collect()
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        gc.collect()
        self.bytes = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()


async def times(size: int, rounds: int) -> dict[str, Any]:
    bench = Bench(size)
    found: dict[str, Any] = {"attach": bench.attach()}
    await bench.refresher.start()
    await bench.cycle()
    ratios, cycles, signings, statuses = [], [], [], []
    repeat = max(1, 100 // size)
    for _ in range(rounds):
        signing = sum(bench.cpu_of_signing() for _ in range(repeat)) / repeat
        cycle = sum([await bench.cpu_of_cycle() for _ in range(repeat)]) / repeat
        cycles.append(cycle)
        signings.append(signing)
        ratios.append(cycle / signing)
        statuses.append(bench.cpu_of_status())
    found |= {
        "cycle": statistics.median(cycles),
        "signing": statistics.median(signings),
        "times_pure_signing": statistics.median(ratios),
        "status": statistics.median(statuses),
    }
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    idle = [await ticker.worst_during(asyncio.sleep(0.1)) for _ in range(rounds)]
    began = time.perf_counter()
    stalls = [await ticker.worst_during(bench.cycle()) for _ in range(rounds)]
    found["most_work_ms"] = ticker.most_work(began)
    ticking.cancel()
    await bench.refresher.aclose()
    return found | {"stalls_ms": stalls, "idle_ms": idle}


async def measure(size: int, rounds: int) -> dict[str, Any]:
    return {"size": size, **await memory(size), **await times(size, rounds)}


def table(found: list[dict[str, Any]]) -> None:
    print(f"{'endpoints':>10}{'cycle':>12}{'× signing':>11}{'stall (idle), work':>30}", end="")
    print(f"{'bytes each':>12}{'attach':>12}{'status()':>12}")
    for one in found:
        stall = (
            f"{statistics.median(one['stalls_ms']):.1f} … {max(one['stalls_ms']):.1f}"
            f" ({max(one['idle_ms']):.1f}), {one['most_work_ms']:.1f} ms"
        )
        print(
            f"{one['size']:>10}{one['cycle'] * 1e3:>9.2f} ms{one['times_pure_signing']:>11.2f}"
            f"{stall:>30}{one['bytes_per_endpoint']:>12.0f}{one['attach'] * 1e3:>9.1f} ms"
            f"{one['status'] * 1e3:>9.2f} ms"
        )


def slope(found: list[dict[str, Any]], name: str) -> float:
    """Return what one more endpoint costs, in microseconds: least squares, all sizes."""
    sizes = [float(one["size"]) for one in found]
    return statistics.linear_regression(sizes, [one[name] for one in found]).slope * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, up to 1 000")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 9)
    if options.measure:
        print(json.dumps(asyncio.run(measure(options.measure, rounds))))
        return
    found = []
    for size in SIZES[:-1] if options.quick else SIZES:
        child = [sys.executable, __file__, "--measure", str(size), "--rounds", str(rounds)]
        run = subprocess.run(child, stdout=subprocess.PIPE, check=True)
        found.append(json.loads(run.stdout))
    slopes = {name: slope(found, name) for name in ("cycle", "signing", "attach", "status")}
    table(found)
    print("one more endpoint: " + ", ".join(f"{n} {us:.1f} µs" for n, us in slopes.items()))
    write("size", {"targets": TARGETS, "slopes_us": slopes, "sizes": found}, quick=options.quick)


if __name__ == "__main__":
    main()
