"""Which events repeat while something lasts, for whom, and which one says that it is over."""

from __future__ import annotations

from collections.abc import Hashable

from ._events import (
    ClockJumped,
    ColdConnect,
    CredentialsFailed,
    CredentialsResolved,
    Event,
    MintFailed,
    RefresherRecovered,
    RefresherRestarted,
    TokenMinted,
    TokenRejected,
    TokensAccepted,
)


def trouble(event: Event) -> tuple[str, Hashable] | None:
    """Return what *event* may be a repeat of, and whose; `None` if each is to be told.

    Also of what is no trouble, but may come two hundred times a second: connections that
    waited and got a token, keys that are looked at anew after each refusal.
    """
    match event:
        case MintFailed():
            return "mint", event.endpoint
        case TokenRejected():
            return "rejection", event.endpoint
        case ColdConnect(error=None):
            return "wait", event.endpoint
        case ColdConnect():
            return "connect", event.endpoint
        case CredentialsFailed():
            return "keys", event.source
        case CredentialsResolved():
            return "look", event.source
        case RefresherRestarted():
            return "crash", None
        case ClockJumped():
            return "jump", None
        case _:
            return None


def ended_by(event: Event) -> tuple[tuple[str, Hashable, str], ...]:
    """Return the troubles that *event* says to be over: what, whose, and how to put it."""
    match event:
        case TokenMinted(endpoint=endpoint):
            return (
                ("mint", endpoint, f"tokens for {endpoint} are minted again"),
                ("connect", endpoint, f"connections to {endpoint} get tokens again"),
            )
        case TokensAccepted(endpoint=endpoint):
            return (("rejection", endpoint, f"{endpoint} accepts tokens again"),)
        case CredentialsResolved():
            return (("keys", event.source, "AWS gives credentials again"),)
        case RefresherRecovered():
            return (("crash", None, "the refresher runs again"),)
        case _:
            return ()
