"""What can happen, as frozen facts: one kind of event for each thing, no secret in any.

The fields are API. Times are Unix seconds, durations seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TypeVar, dataclass_transform

from .._token import Endpoint

Kind = TypeVar("Kind")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def _event(kind: type[Kind]) -> type[Kind]:
    """Make a frozen dataclass of *kind*.

    Before Python 3.13 each method that `dataclass` writes is compiled by itself, while the
    application starts. What is the same for all kinds is written once, in `Event`.
    """
    return dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)(kind)


@_event
class Event:
    """Something that happened, to one endpoint or to the refresher as a whole."""

    def __repr__(self) -> str:
        told = (f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))
        return f"{type(self).__name__}({', '.join(told)})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = (field.name for field in fields(self))
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def __hash__(self) -> int:
        names = (field.name for field in fields(self) if field.hash is not False)
        return hash((type(self), *(getattr(self, name) for name in names)))


@_event
class TokenMinted(Event):
    """A token was signed and put into its slot.

    Attributes:
        endpoint: What it is good for.
        access_key_id: Who signed it; the public half of the key.
        minted_at: Unix seconds.
        expires_at: Unix seconds.
        usable_until: Its last use, in Unix seconds: `expires_at` less the margin.
        cold: A connection waited for it.
        took: Seconds that signing took; what it was waited for is in `ColdConnect` and
            `CredentialsResolved`.
    """

    endpoint: Endpoint
    access_key_id: str
    minted_at: float
    expires_at: float
    usable_until: float
    cold: bool
    took: float


@_event
class MintFailed(Event):
    """One attempt to make a token failed. The token in hand, if any, stays in use.

    Endpoints that share a look for AWS keys share its failure: one event for each that
    needed a token then. Connections that waited for the same attempt are `ColdConnect`s.

    Attributes:
        endpoint: What it was for.
        error: Why; its `reason` is one word of a small closed set.
        failures: How many in a row, this one included.
        retry_in: Seconds until the refresher tries again.
        usable_for: Seconds that the token in hand can still be used.
    """

    endpoint: Endpoint
    error: Exception = field(hash=False)
    failures: int
    retry_in: float
    usable_for: float


@_event
class TokenRejected(Event):
    """The server refused a token that was believed to be good: one event for each connect.

    Attributes:
        endpoint: Where.
        age: Seconds since it was minted; `None` when it had been replaced meanwhile.
        retried: A new token was made for one more attempt; otherwise the driver's
            error went to the caller.
    """

    endpoint: Endpoint
    age: float | None
    retried: bool


@_event
class TokensAccepted(Event):
    """The server accepted a token, the first since it refused some.

    Attributes:
        endpoint: Where.
        rejections: How many connects had a token refused in between.
        after: Seconds since the first of them.
    """

    endpoint: Endpoint
    rejections: int
    after: float


@_event
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


@_event
class CredentialsResolved(Event):
    """AWS credentials were resolved afresh.

    Attributes:
        access_key_id: The public half of the key.
        provider: What gave them, in botocore's words, such as `iam-role`.
        expires_at: Unix seconds; `None` when no end is known.
        took: Seconds.
        source: Which of the refresher's sources: 0 is its own, the others are counted as
            they were given to `attach`.
    """

    access_key_id: str
    provider: str
    expires_at: float | None
    took: float
    source: int


@_event
class CredentialsFailed(Event):
    """AWS credentials could not be resolved this time.

    Attributes:
        error: Why; its `reason` is one word of a small closed set.
        provider: What gave the keys in hand; `None` when there have been none.
        failures: How many in a row, this one included.
        retry_in: Seconds until the refresher tries again.
        usable_for: Seconds that the keys in hand can still sign; `None` when no end
            of theirs is known, 0 when there are none.
        took: Seconds until it failed.
        source: Which of the refresher's sources, as in `CredentialsResolved`.
    """

    error: Exception = field(hash=False)
    provider: str | None
    failures: int
    retry_in: float
    usable_for: float | None
    took: float
    source: int


@_event
class ClockJumped(Event):
    """The wall clock was stepped or the machine was suspended; all tokens are re-minted.

    Attributes:
        by: Seconds, negative when the clock was set back.
    """

    by: float


@_event
class RefresherRestarted(Event):
    """The refresher's loop ended by an error of its own and was started again.

    Attributes:
        error: The bug, with its traceback.
        restart_in: Seconds until it runs again.
    """

    error: BaseException = field(hash=False)
    restart_in: float


@_event
class RefresherRecovered(Event):
    """The refresher's loop went round once without an error, after it had crashed.

    Attributes:
        crashes: How often in a row it had.
        after: Seconds since the first of them.
    """

    crashes: int
    after: float


@_event
class RefresherClosed(Event):
    """The refresher was closed; nothing of it runs any more."""
