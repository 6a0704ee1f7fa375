"""What happened, as frozen events to one callable; and a callable that logs them.

An observer is called on the event loop (or on the thread that connects) and must not
block. The fields of events are API; the wording of log lines is not. No event holds a
token or a secret.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from ._token import Endpoint

logger = logging.getLogger("rds_iam_async")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, to one endpoint or to the refresher as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMinted(Event):
    """A token was signed and put into its slot.

    Attributes:
        endpoint: What it is good for.
        access_key_id: Who signed it; the public half of the key.
        minted_at: Unix seconds.
        expires_at: Unix seconds.
        cold: A connection waited for it.
    """

    endpoint: Endpoint
    access_key_id: str
    minted_at: float
    expires_at: float
    cold: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MintFailed(Event):
    """No token could be made when one was due: once per outage, and for each cold connect.

    Attributes:
        endpoint: What it was for.
        error: Why.
        failures: How many in a row, this one included.
        retry_in: Seconds until the refresher tries again.
        usable_for: Seconds that the token in hand can still be used.
    """

    endpoint: Endpoint
    error: Exception = field(hash=False)
    failures: int
    retry_in: float
    usable_for: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRejected(Event):
    """The server refused a token that was believed to be good.

    Attributes:
        endpoint: Where.
        age: Seconds since it was minted; `None` when it had been replaced meanwhile.
        retried: A new token was made for one more attempt; otherwise the driver's
            error went to the caller.
    """

    endpoint: Endpoint
    age: float | None
    retried: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdConnect(Event):
    """A connection found no usable token and waited for one.

    Attributes:
        endpoint: Where.
        waited: Seconds.
        error: Why there was none in the end; `None` when there was.
    """

    endpoint: Endpoint
    waited: float
    error: Exception | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsResolved(Event):
    """AWS credentials were resolved afresh.

    Attributes:
        access_key_id: The public half of the key.
        provider: What gave them, in botocore's words, such as `iam-role`.
        expires_at: Unix seconds; `None` when no end is known.
        took: Seconds.
    """

    access_key_id: str
    provider: str
    expires_at: float | None
    took: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsFailed(Event):
    """AWS credentials could not be resolved this time.

    Attributes:
        error: Why.
        failures: How many in a row, this one included.
        retry_in: Seconds until the refresher tries again.
        usable_for: Seconds that the keys in hand can still sign; `None` when no end
            of theirs is known, 0 when there are none.
    """

    error: Exception = field(hash=False)
    failures: int
    retry_in: float
    usable_for: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJumped(Event):
    """The wall clock was stepped or the machine was suspended; all tokens are re-minted.

    Attributes:
        by: Seconds, negative when the clock was set back.
    """

    by: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RefresherRestarted(Event):
    """The refresher's loop ended by an error of its own and was started again.

    Attributes:
        error: The bug, with its traceback.
        restart_in: Seconds until it runs again.
    """

    error: BaseException = field(hash=False)
    restart_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RefresherClosed(Event):
    """The refresher was closed; nothing of it runs any more."""


Observer = Callable[[Event], None]


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


def log_events(event: Event) -> None:
    """Log *event* under the name `rds_iam_async`: trouble as WARNING, the rest as DEBUG or INFO."""
    match event:
        case TokenMinted(cold=cold):
            left = event.expires_at - event.minted_at
            logger.debug(
                "minted a%s token for %s, good for %.0f s, signed by %s",
                " cold" if cold else "",
                event.endpoint,
                left,
                event.access_key_id,
            )
        case MintFailed():
            logger.warning(
                "no new token for %s (failure %d, next try in %.1f s, the one in hand is good "
                "for %.0f s more): %s",
                event.endpoint,
                event.failures,
                event.retry_in,
                event.usable_for,
                event.error,
            )
        case TokenRejected():
            logger.warning(
                "%s refused a token%s; %s",
                event.endpoint,
                "" if event.age is None else f" {event.age:.0f} s old",
                "trying once more with a new one" if event.retried else "not tried again",
            )
        case ColdConnect(error=None):
            logger.info("%s: a connection waited %.3f s for a token", event.endpoint, event.waited)
        case ColdConnect():
            logger.warning(
                "a connection to %s got no token after %.3f s: %s",
                event.endpoint,
                event.waited,
                event.error,
            )
        case CredentialsResolved():
            logger.info(
                "resolved AWS credentials %s from %s in %.3f s",
                event.access_key_id,
                event.provider,
                event.took,
            )
        case CredentialsFailed():
            logger.warning(
                "no AWS credentials (failure %d, next try in %.1f s): %s",
                event.failures,
                event.retry_in,
                event.error,
            )
        case ClockJumped():
            logger.warning("the clock jumped by %+.0f s; minting anew", event.by)
        case RefresherRestarted():
            logger.error(
                "the refresher crashed and restarts in %.1f s; this is a bug",
                event.restart_in,
                exc_info=event.error,
            )
        case RefresherClosed():
            logger.debug("refresher closed")
        case _:
            logger.debug("%r", event)
