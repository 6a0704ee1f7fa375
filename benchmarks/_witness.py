"""Who had the interpreter lock when the application's loop wanted it: a profile of stalls.

A ticker that comes late looks where the thread that resolves AWS keys stands at that moment:
it has just let go of the lock. What it did until then is what the loop waited for, unless
that does not need the lock: then it was the machine.
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
COLLECTION = "collects garbage"
MACHINE = "does not hold the lock: the machine was busy"
ELSE = "something else"
FREE = {"_create_connector", "select", "now"}
"""Functions that let go of the lock: for certificates that are read, and for rests."""
STEPS = {
    "_as_fetched": "reads keys",
    "_expiry": "asks when the keys end",
    "create_endpoint": "makes a client",
    "_create_client": "makes a client",
    "create_client": "makes a client",
    "__aexit__": "closes its connections",
    "_make_api_call": "calls STS or SSO",
    "load_config": "reads the profile files",
    "full_config": "reads the profile files",
    "_create_credential_resolver": "builds the chain of providers",
    "renewed": "makes a session",
    "_get_response": "calls the agent",
    "_get_request": "calls the agent",
    "_fetch_metadata_token": "calls the agent",
    "_retrieve_credentials_using": "runs the process",
    "load_credentials": "goes through the chain of providers",
    "_resolve": "reads keys",
    "_look": "begins or ends",
}
"""What a look does, by the innermost function of that name that it is in."""

Told = dict[str, dict[str, float | str]]
"""By what the look did: how many ticks were late, by how much, and where it was most often."""


class Witness:
    """Notes for how long the loop waited in looks, by what their thread did."""

    def __init__(self) -> None:
        self._waited: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
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
                if late > WORTH_NOTING and (did := self._culprit(late)) is not None:
                    what, where = did
                    self._waited[what].append((1000 * late, where))
        finally:
            gc.callbacks.remove(self.note_collection)

    def told(self) -> Told:
        """Return what was noted, the most first."""
        most_first = sorted(self._waited.items(), key=lambda item: -sum(ms for ms, _ in item[1]))
        return {what: summary(noted) for what, noted in most_first}

    def _culprit(self, late: float) -> tuple[str, str] | None:
        """Return what the look did, and where; `None` where there is no look."""
        if self._collected > late / 2:
            return COLLECTION, "gc"
        frames = sys._current_frames()
        for thread in threading.enumerate():
            if thread.name.startswith(THREAD) and thread.ident in frames:
                return place(frames[thread.ident])
        return None

    def note_collection(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._collection_began = time.perf_counter()
        else:
            self._collected += time.perf_counter() - self._collection_began


def summary(noted: list[tuple[float, str]]) -> dict[str, float | str]:
    """Return figures of late ticks with the same cause."""
    places = [where for _, where in noted]
    return {
        "ticks": len(noted),
        "ms": sum(ms for ms, _ in noted),
        "worst": max(ms for ms, _ in noted),
        "place": max(places, key=places.count),
    }


def place(frame: FrameType) -> tuple[str, str]:
    """Return what a thread is doing, in words, and the function that it is in."""
    code = frame.f_code
    where = f"{Path(code.co_filename).stem}.{code.co_name}"
    if code is Witness.note_collection.__code__:
        return COLLECTION, "gc"
    if code.co_name in FREE:
        return MACHINE, where
    outer: FrameType | None = frame
    while outer is not None:
        if (did := STEPS.get(outer.f_code.co_name)) is not None:
            return did, where
        outer = outer.f_back
    return ELSE, where
