"""A loop whose timers are due at once: what it waits for takes none of the machine's time."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class Impatient(selectors.DefaultSelector):
    """Waits for nothing: time jumps to the next timer instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += max(timeout or 0.0, 1e-6)  # time never stands still
        return super().select(0)


class LoopWithoutWaiting(asyncio.SelectorEventLoop):
    """Its time passes with its own turns and timers, however long the machine takes for them."""

    def __init__(self) -> None:
        self.impatient = Impatient()
        super().__init__(self.impatient)

    def time(self) -> float:
        return self.impatient.now


WITHOUT_WAITING: tuple[str, dict[str, object]] = ("asyncio", {"loop_factory": LoopWithoutWaiting})
"""For the fixture `anyio_backend` of a module: a busy machine ends no bound too early there."""
