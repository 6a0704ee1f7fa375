"""The refreshers that there are, for what is computed when somebody asks."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from .._token import Endpoint


class Watched(Protocol):
    """What an observer may ask of the refresher that it observes; from any thread.

    Attributes:
        boot: The time in seconds, on a clock that never jumps.
    """

    boot: Callable[[], float]

    def usable(self) -> Iterable[tuple[Endpoint, float]]:
        """Yield each endpoint that is kept supplied, and how long its token can be used."""
        ...

    def failed_looks(self) -> Iterable[tuple[str, int]]:
        """Yield what gave each source's keys, and how many looks have failed since."""
        ...


class Watching:
    """The refreshers that an observer of several was given, for as long as each lives."""

    def __init__(self) -> None:
        self._refreshers: tuple[weakref.ref[Watched], ...] = ()

    def add(self, watched: Watched) -> None:
        """Take note of one more, whichever thread reads meanwhile."""
        alive = (ref for ref in self._refreshers if ref() is not None)
        self._refreshers = (*alive, weakref.ref(watched))

    def usable(self) -> dict[Endpoint, float]:
        """Return how long each endpoint's token can be used; of two refreshers', the shorter."""
        found: dict[Endpoint, float] = {}
        for watched in self._alive():
            for endpoint, seconds in watched.usable():
                found[endpoint] = min(seconds, found.get(endpoint, seconds))
        return found

    def failed_looks(self) -> dict[str, int]:
        """Return how many looks have failed in a row, by provider; of two sources', the more."""
        found: dict[str, int] = {}
        for watched in self._alive():
            for provider, failures in watched.failed_looks():
                found[provider] = max(failures, found.get(provider, 0))
        return found

    def _alive(self) -> Iterator[Watched]:
        for ref in self._refreshers:
            if (watched := ref()) is not None:
                yield watched
