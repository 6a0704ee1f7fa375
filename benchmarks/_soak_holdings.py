"""What a process holds: memory, tasks, threads, open files."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import rds_iam_async

_OURS = str(Path(rds_iam_async.__file__).parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What a process holds at one instant.

    Attributes:
        allocated: Bytes that Python code has allocated.
        allocated_by_us: Of these, by lines of this library.
        resident: Bytes of resident memory, 0 where the system does not tell.
        tasks: Tasks of the running loop.
        threads: Threads, without those in which the loop resolves names.
        files: Open file descriptors, 0 where the system does not tell.
    """

    allocated: int
    allocated_by_us: int
    resident: int
    tasks: int
    threads: int
    files: int


def holdings() -> Holdings:
    """Return what this process holds now. `tracemalloc` has to be on."""
    gc.collect()
    allocated, _ = tracemalloc.get_traced_memory()
    return Holdings(
        allocated=allocated,
        allocated_by_us=_allocated_by_us(),
        resident=_resident(),
        tasks=len(asyncio.all_tasks()),
        # Those of the loop's own executor come as they are needed, and stay.
        threads=sum(not t.name.startswith("asyncio_") for t in threading.enumerate()),
        files=open_files(),
    )


def _allocated_by_us() -> int:
    # `Snapshot.filter_traces` takes three times as long, in which the loop stands still.
    traces = tracemalloc.take_snapshot().traces
    return sum(trace.size for trace in traces if trace.traceback[0].filename.startswith(_OURS))


def _resident() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def open_files() -> int:
    """Return how many file descriptors are open."""
    files = Path("/proc/self/fd")
    return len(list(files.iterdir())) if files.exists() else 0
