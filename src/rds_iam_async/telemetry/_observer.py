"""Who is told of events: any callable, several of them, and those that need to know of whom."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, runtime_checkable

from .._token import Endpoint
from ._events import Event
from ._logger import logger

Observer = Callable[[Event], None]


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


@runtime_checkable
class PerRefresher(Protocol):
    """An observer that is another one for each refresher, or has to know all of them."""

    def __call__(self, event: Event) -> None:
        """Take an event of whichever refresher."""
        ...

    def for_refresher(self, watched: Watched) -> Observer:
        """Return what is to be given the events of *watched*; it must not keep that alive."""
        ...


def for_refresher(observe: Observer, watched: Watched) -> Observer:
    """Return *observe* as it is to be called with the events of *watched*."""
    return observe.for_refresher(watched) if isinstance(observe, PerRefresher) else observe


def guarded(observe: Observer) -> Observer:
    """Return *observe* made harmless: what it raises is logged once, and never felt."""
    reported = False

    def call(event: Event) -> None:
        nonlocal reported
        try:
            observe(event)
        except Exception:  # of whatever kind: a broken observer must not break a connect
            if not reported:
                reported = True
                logger.exception("the observer raised; it is called on, its errors are ignored")

    return call


def all_of(*observers: Observer) -> Observer:
    """Return an observer that gives each event to all of *observers*, in their order.

    One that raises does not keep the others from hearing; its first error is logged.

    Example:
        ```python
        refresher = TokenRefresher(engine, observe=all_of(log_events, prometheus_events()))
        ```
    """
    return _All(observers)


class _All:
    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        self._calls = tuple(map(guarded, self._observers))

    def __call__(self, event: Event) -> None:
        for call in self._calls:
            call(event)

    def for_refresher(self, watched: Watched) -> Observer:
        return _All(for_refresher(observe, watched) for observe in self._observers)


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
