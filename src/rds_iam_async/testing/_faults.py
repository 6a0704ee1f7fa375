"""The faults that a test has asked for."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from .._errors import ConfigurationError


class Countdown:
    """How many times something is still to happen. Safe to use from any thread."""

    def __init__(self) -> None:
        self._left = 0
        self._lock = threading.Lock()

    def set(self, count: int) -> None:
        """Let it happen *count* times from now on, whatever was left before.

        Raises:
            ConfigurationError: When *count* is not a whole number from 0.
        """
        if type(count) is not int or count < 0:
            raise ConfigurationError(f"count {count!r} is not a whole number from 0")
        with self._lock:
            self._left = count

    def take(self) -> bool:
        """Tell whether it is to happen now, and count that."""
        with self._lock:
            happens = self._left > 0
            self._left -= happens
            return happens


class Faults:
    """What goes wrong on purpose, and how slowly.

    Attributes:
        delay: Seconds that pass before a login is answered.
        refuse: How many tokens are still to be refused unread.
        reset: How many logins are still to be cut off.
        wall: What time the server believes it is, in Unix seconds.
    """

    def __init__(self) -> None:
        self.wall: Callable[[], float] = time.time
        self.delay = 0.0
        self.refuse = Countdown()
        self.reset = Countdown()


def seconds(name: str, value: Any) -> float:
    """Return *value* as a length of time.

    Raises:
        ConfigurationError: When it is not a number from 0.
    """
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ConfigurationError(f"{name} {value!r} is not a number of seconds from 0")
    return float(value)
