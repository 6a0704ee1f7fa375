"""What happened, as frozen events to one callable; and callables that log and count them.

An observer is called on the event loop (or on the thread that connects) and must not
block. The fields of events are API; the wording of log lines is not. No event holds a
token or a secret.
"""

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
