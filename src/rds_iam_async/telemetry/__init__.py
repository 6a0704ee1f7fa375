"""What happened, as frozen events to one callable; and callables that log and count them.

An observer is called on the event loop (or on the thread that connects) and must not
block. The fields of events are API; the wording of log lines is not. No event holds a
token or a secret.
"""

import importlib
from typing import TYPE_CHECKING

from ._events import (
    ClockJumped,
    ColdConnect,
    CredentialsFailed,
    CredentialsResolved,
    Event,
    MintFailed,
    RefresherClosed,
    RefresherRecovered,
    RefresherRestarted,
    TokenMinted,
    TokenRejected,
    TokensAccepted,
)
from ._log import log_events
from ._logger import logger
from ._observer import Observer, all_of, guarded

if TYPE_CHECKING:
    from ._otel import otel_events
    from ._prometheus import prometheus_events

__all__ = [
    "ClockJumped",
    "ColdConnect",
    "CredentialsFailed",
    "CredentialsResolved",
    "Event",
    "MintFailed",
    "Observer",
    "RefresherClosed",
    "RefresherRecovered",
    "RefresherRestarted",
    "TokenMinted",
    "TokenRejected",
    "TokensAccepted",
    "all_of",
    "guarded",
    "log_events",
    "logger",
    "otel_events",
    "prometheus_events",
]

_HOME_OF = {"otel_events": "_otel", "prometheus_events": "_prometheus"}

# Whoever counts nothing does not import what counts: this package is a part of the start-up
# time of every application.
if not TYPE_CHECKING:  # to a type checker a __getattr__ would mean that any name is there

    def __getattr__(name: str) -> object:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
