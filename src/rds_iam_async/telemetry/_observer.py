"""Who is told of events: any callable, several of them, and those that need to know of whom."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, runtime_checkable

from .._errors import ConfigurationError
from ._events import Event
from ._logger import logger
from ._watching import Watched

Observer = Callable[[Event], None]

Maker = TypeVar("Maker", bound=Callable[..., Observer])

_makers: list[Callable[..., Observer]] = []


def maker(make: Maker) -> Maker:
    """Note that *make* returns observers, and is none: what `observe=` is not to be given."""
    _makers.append(make)
    return make


def checked(observe: Any) -> Observer:
    """Return *observe*, if events can be given to it.

    Raises:
        ConfigurationError: When it is no callable, an async one, or what makes observers.
    """
    given: Observer = observe
    if not callable(observe):
        raise ConfigurationError(
            f"the observer is a {type(observe).__name__}",
            hint="pass a callable that takes an event; several by all_of(first, second)",
        )
    if any(observe is make for make in _makers):
        name = observe.__name__
        raise ConfigurationError(
            f"the observer is {name} itself, not what it returns", hint=f"call it: {name}(…)"
        )
    if inspect.iscoroutinefunction(observe) or inspect.iscoroutinefunction(type(observe).__call__):
        raise ConfigurationError(
            "the observer is async, and nobody would await it",
            hint="pass a plain function; it may put events into a queue for a task of yours",
        )
    return given


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


@maker
def all_of(*observers: Observer) -> Observer:
    """Return an observer that gives each event to all of *observers*, in their order.

    One that raises does not keep the others from hearing; its first error is logged.

    Raises:
        ConfigurationError: As for `observe=`: when one is no callable, an async one, or
            what makes observers.

    Example:
        ```python
        refresher = TokenRefresher(engine, observe=all_of(log_events, prometheus_events()))
        ```
    """
    return _All(map(checked, observers))


class _All:
    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)
        self._calls = tuple(map(guarded, self._observers))

    def __call__(self, event: Event) -> None:
        for call in self._calls:
            call(event)

    def for_refresher(self, watched: Watched) -> Observer:
        return _All(for_refresher(observe, watched) for observe in self._observers)
