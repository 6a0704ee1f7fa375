"""Who asked the local AWS for what, for the test to count."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

# Enough for any test; a soak may run for days.
_KEPT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that arrived, whatever became of it.

    Attributes:
        kind: The provider whose keys were asked for, such as `container`; or a step on
            the way to them: `imds-token`, `imds-role`, `sso-token`; or who signed:
            `caller-identity`. `unknown` is what
            AWS would not know either.
        at: Unix seconds.
    """

    kind: str
    at: float


class CallLog:
    """The latest calls, oldest first. Safe to use from any thread."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Call]:
        with self._lock:
            return iter(tuple(self._calls))

    def __len__(self) -> int:
        return len(self._calls)

    def count(self, kind: str) -> int:
        """Return how many calls were of this kind."""
        return sum(call.kind == kind for call in self)

    def append(self, call: Call) -> None:
        """Add one call at the end."""
        with self._lock:
            self._calls.append(call)

    def clear(self) -> None:
        """Forget all calls so far."""
        with self._lock:
            self._calls.clear()
