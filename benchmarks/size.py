"""What a refresher costs by the number of its endpoints: 1, 10, 100, 1 000 and 10 000.

Run it with `make bench`, or `.venv/bin/python benchmarks/size.py --quick`. Each size has a
process of its own, in which all endpoints are due at the same instant, which is the worst case: the
spread is off, and a clock is wound by ten minutes.

- CPU of a refresh cycle, beside the floor: signing as many tokens, and doing nothing else.
- Worst loop stall meanwhile, by a ticker of 1 ms; an idle loop beside it. And the most work
  between two ticks, in CPU time: the stall that the refresher itself is to blame for.
- Memory per endpoint: what `attach` and the first token allocate, by tracemalloc, without
  the text of the token and without the engine itself. The floor is what SQLAlchemy takes to
  register any listener of `do_connect`, such as one that sets a constant password.
- Time to attach, and time of `status()`.
- The most work in one turn of the loop, in CPU time, whatever befalls all endpoints at once,
  and the garbage collector's part in it: `_befalls.py`.

Each curve is to be a straight line, which is a level one per endpoint; its slope is the price
of one: `_line.py`. The sizes are measured one after the other; a cycle and signing in turn.
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

from _befalls import turns
from _line import lines
from _results import is_partial, write
from _size_bench import Bench, engine, warm_up
from _targets import SIZE
from _ticker import Ticker
from sqlalchemy import event

SIZES = (1, 10, 100, 1_000, 10_000)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, up to 1 000")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 9)
    if options.measure:
        print(json.dumps(asyncio.run(measure(options.measure, rounds))))
        return
    if options.turns:
        print(json.dumps(asyncio.run(turns(options.turns, rounds))))
        return
    sizes = SIZES[:-1] if options.quick else SIZES
    found = [in_child("--measure", size, rounds) for size in sizes]
    befallen = in_child("--turns", sizes[-1], rounds)
    slopes = lines(found)
    table(found)
    for name, one in slopes.items():
        price = f"{one['slope']:,.0f} bytes" if name == "memory" else f"{one['slope'] * 1e6:.1f} µs"
        print(f"one more endpoint, {name}: {price} (at most {one['deviation']:.0%} off)")
    for one in befallen:
        print(f"{one['what']:45}{one['most_ms']:6.1f} ms in one turn at most,", end="")
        print(f" without the collector {one['most_without_collector_ms']:.1f} ms")
    results = {"targets": SIZE, "lines": slopes, "sizes": found, "turns": befallen}
    write("size", results, quick=is_partial(parser, options))


def in_child(what: str, size: int, rounds: int) -> Any:
    """Return what was measured in a process of its own."""
    child = [sys.executable, __file__, what, str(size), "--rounds", str(rounds)]
    return json.loads(subprocess.run(child, stdout=subprocess.PIPE, check=True).stdout)


if __name__ == "__main__":
    main()
