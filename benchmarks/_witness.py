"""Who had the interpreter lock when the application's loop wanted it: a profile of stalls.

A ticker that comes late looks where the thread that resolves AWS keys stands at that moment:
it has just let go of the lock. What it did until then is what the loop waited for; if there
is no such thread, or it rests, it was the machine.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

TICK = 0.001
WORTH_NOTING = 0.0015
"""Seconds; a tick is up to 1 ms late by itself, since epoll counts in milliseconds."""
THREAD = "rds_iam_async-credentials"
RESTS = ("select", "give_way", "wait")
COLLECTION = "garbage collection"
DEPTH = 2
OF_THE_SDK = ("botocore", "aiobotocore", "aioboto3", "aiohttp")


class Witness:
    """Notes for how long the loop waited, by what the other thread did.

    Attributes:
        waited: Milliseconds by what was done.
    """

    def __init__(self) -> None:
        self.waited: defaultdict[str, float] = defaultdict(float)
        self._collected = 0.0
        self._collection_began = 0.0

    async def run(self) -> None:
        gc.callbacks.append(self.note_collection)
        try:
            while True:
                due = time.perf_counter() + TICK
                self._collected = 0.0
                await asyncio.sleep(TICK)
                late = time.perf_counter() - due
                if late > WORTH_NOTING:
                    self.waited[self._culprit(late)] += 1000 * late
        finally:
            gc.callbacks.remove(self.note_collection)

    def _culprit(self, late: float) -> str:
        if self._collected > late / 2:
            return COLLECTION
        frames = sys._current_frames()
        for thread in threading.enumerate():
            if thread.name.startswith(THREAD) and thread.ident in frames:
                return place(frames[thread.ident])
        return "no look under way"

    def note_collection(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._collection_began = time.perf_counter()
        else:
            self._collected += time.perf_counter() - self._collection_began


def place(frame: FrameType) -> str:
    """Return what a thread is doing: the innermost functions of the SDK that it is in."""
    if frame.f_code.co_name in RESTS:
        return "the look rests"
    if frame.f_code is Witness.note_collection.__code__:
        return COLLECTION
    names: list[str] = []
    inner: FrameType | None = frame
    while inner is not None and len(names) < DEPTH:
        path = Path(inner.f_code.co_filename)
        if any(package in path.parts for package in OF_THE_SDK) or not names:
            names.append(f"{path.stem}.{inner.f_code.co_name}")
        inner = inner.f_back
    return " < ".join(names)
