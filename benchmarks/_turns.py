"""A witness on the application's loop: how much was done in each turn, and by whom.

A callback that asks for the next turn in each one reads the CPU time that its thread took
since the last. Lateness would also show what else the machine does; this does not. Beside
it stands what the garbage collector took, which looks at all that is new whenever enough is.
"""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """CPU seconds of one turn of the loop.

    Attributes:
        work: In all.
        collecting: The garbage collector's part.
    """

    work: float
    collecting: float


class Turns:
    """Notes each turn of the running loop in a `with` block."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._collecting = 0.0
        self._collects_since = 0.0

    def __enter__(self) -> Self:
        gc.callbacks.append(self._collector)
        self._since = time.thread_time()
        self._next = asyncio.get_running_loop().call_soon(self._turn)
        return self

    def __exit__(self, *_: object) -> None:
        self._next.cancel()
        gc.callbacks.remove(self._collector)

    def summary(self, times: int) -> dict[str, float]:
        """Return milliseconds of CPU: for each of so many times, and the most in one turn."""
        return {
            "cpu_ms": 1e3 * sum(turn.work for turn in self.turns) / times,
            "collector_ms": 1e3 * sum(turn.collecting for turn in self.turns) / times,
            "most_ms": 1e3 * max(turn.work for turn in self.turns),
            "most_without_collector_ms": 1e3
            * max(turn.work - turn.collecting for turn in self.turns),
        }

    def _turn(self) -> None:
        now = time.thread_time()
        self.turns.append(Turn(work=now - self._since, collecting=self._collecting))
        self._since, self._collecting = now, 0.0
        self._next = asyncio.get_running_loop().call_soon(self._turn)

    def _collector(self, phase: str, _: dict[str, Any]) -> None:
        if phase == "start":
            self._collects_since = time.thread_time()
        else:
            self._collecting += time.thread_time() - self._collects_since
