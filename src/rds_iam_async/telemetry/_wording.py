"""What the log says of each event, and how loudly."""

from __future__ import annotations

import logging

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

Line = tuple[int, str, tuple[object, ...]]
"""A level, a format and its arguments, as `logging` takes them."""


def line(event: Event) -> Line:
    """Return how to log *event*: trouble as WARNING, bugs as ERROR, the rest DEBUG or INFO."""
    match event:
        case TokenMinted():
            kind = "cold token" if event.cold else "token"
            life = event.expires_at - event.minted_at
            what = f"minted a {kind} for %s, good for %.0f s, signed by %s"
            return logging.DEBUG, what, (event.endpoint, life, event.access_key_id)
        case MintFailed():
            what = (
                "no new token for %s (failure %d, next try in %.1f s, the one in hand is good "
                "for %.0f s more): %s"
            )
            times = (event.failures, event.retry_in, event.usable_for)
            return logging.WARNING, what, (event.endpoint, *times, event.error)
        case TokenRejected():
            age = "" if event.age is None else f" {event.age:.0f} s old"
            then = "trying once more with a new one" if event.retried else "not tried again"
            return logging.WARNING, f"%s refused a token{age}; {then}", (event.endpoint,)
        case TokensAccepted():
            what = "%s accepts tokens after %d refused ones"
            return logging.DEBUG, what, (event.endpoint, event.rejections)
        case ColdConnect(error=None):
            what = "%s: a connection waited %.3f s for a token"
            return logging.INFO, what, (event.endpoint, event.waited)
        case ColdConnect():
            what = "a connection to %s got no token after %.3f s: %s"
            return logging.WARNING, what, (event.endpoint, event.waited, event.error)
        case CredentialsResolved():
            what = "resolved AWS credentials %s from %s in %.3f s"
            return logging.INFO, what, (event.access_key_id, event.provider, event.took)
        case CredentialsFailed():
            what = "no AWS credentials (failure %d, next try in %.1f s): %s"
            return logging.WARNING, what, (event.failures, event.retry_in, event.error)
        case ClockJumped():
            return logging.WARNING, "the clock jumped by %+.0f s; minting anew", (event.by,)
        case RefresherRestarted():
            what = "the refresher crashed and restarts in %.1f s; this is a bug"
            return logging.ERROR, what, (event.restart_in,)
        case RefresherRecovered():
            return logging.DEBUG, "the refresher runs again after %d crashes", (event.crashes,)
        case RefresherClosed():
            return logging.DEBUG, "refresher closed", ()
        case _:
            return logging.DEBUG, "%r", (event,)
