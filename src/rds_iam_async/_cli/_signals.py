"""What ends a command that runs until it is told to: Ctrl-C, SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Generator


@contextlib.contextmanager
def until_told() -> Generator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set, instead of what they do otherwise."""
    told = threading.Event()

    def tell(number: int, frame: object) -> None:
        told.set()

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
