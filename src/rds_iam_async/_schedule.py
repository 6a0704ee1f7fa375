"""The arithmetic of time: when a token is usable, when its successor is due, when to retry.

Plain functions of their arguments. All instants are Unix seconds unless a name says
otherwise, all durations float seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ._errors import ConfigurationError
from ._token import Credentials, Token

FULL_LIFE = 900.0
"""RDS accepts a token for 15 minutes, no longer (`UsingWithRDS.IAMDBAuth`)."""

SLICE = 15.0
"""The longest uninterrupted sleep: a suspended machine is noticed this late at most."""

CLOCK_JUMP = 5.0
"""How far wall and monotonic time may drift apart between two looks. NTP slews at
0.5 ms a second (adjtime(3)), so anything like this was a step or a suspend."""

MARGIN_SHARE = 0.1
"""Of a short life, the margin takes no more than this."""

SHORTEST_LIFE = 2.0
"""A token carries whole seconds: up to one of them is over when it is minted."""

WORTH_SIGNING = 1.0
"""Keys with less than this left sign nothing: X-Amz-Date is cut to the second."""

IMPORT_WAIT = 30.0
"""The bound on waiting for the AWS SDK to be imported, which takes seconds on a small machine
and is no part of `RefreshPolicy.wait`: AWS has nothing to do with it."""

KEYS_SPREAD = 0.5
"""Of the wait for the next look at credentials, up to this share less, drawn at random: a
fleet that was started in one second calls STS evenly from its second look on."""

CALM = (0.4, 0.8)
"""Of the time for which the keys in hand are still good, the share that passes before a look
that failed is repeated. Less would make an outage of STS a storm: `benchmarks/fleet.py`."""

FORCED_APART = 1.0
"""Seconds between two mints that a refusal forced: one second of the same key is one token."""

FORCED_CAP = 30.0
"""A missing grant looks like a dead token; asking more often than this cannot help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPolicy:
    """How early to act, how often to retry, how long to wait. All in seconds.

    Attributes:
        lifetime: The longest that a token is used, from 2 (tokens carry whole seconds)
            to 900 (RDS's limit). What is signed always says 900: this is for tests with
            compressed time, and for those who want a shorter life.
        lead: How long before its end a full token's successor is due; above `margin`.
            It shrinks in proportion for a token with a shorter life, so that minting
            never falls into the first half of one.
        spread: Up to this much earlier, drawn at random for each token, so that a
            fleet started at once does not mint at once. 0 switches it off, and with it
            the spread of looks at AWS keys (`credentials_due_at`).
        margin: A token is not handed out this close to its end, for it must still be
            valid when it arrives; at most a tenth of its life.
        retry_base: The first pause after a failure; it doubles with each further one,
            with full jitter.
        retry_cap: The longest pause after failures, but for looks at AWS keys while those
            in hand are good for longer; at least `retry_base`.
        wait: The bound on each credential call, and on a connection that finds no token.

    Raises:
        ConfigurationError: When a number is negative, NaN, infinite, out of range or
            contradicts another; the message names the field.

    Source:
        Lead and margin: AWS's own clients refresh at 10 minutes of age (Amazon MWAA)
        and keep 30 s for the way (aws-advanced-jdbc-wrapper#612). Jitter:
        https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
    """

    lifetime: float = FULL_LIFE
    lead: float = 300.0
    spread: float = 60.0
    margin: float = 30.0
    retry_base: float = 0.5
    retry_cap: float = 15.0
    wait: float = 5.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigurationError(
                    f"{item.name}={value!r} is not a number", hint=f"pass {item.name} in seconds"
                )
            lowest_is_allowed = item.name in ("spread", "margin")
            if not (math.isfinite(value) and (value > 0 or (value == 0 and lowest_is_allowed))):
                bound = "0 or more" if lowest_is_allowed else "above 0"
                raise ConfigurationError(
                    f"{item.name}={value!r} is out of range",
                    hint=f"pass a finite number of seconds {bound} as {item.name}",
                )
        if not SHORTEST_LIFE <= self.lifetime <= FULL_LIFE:
            raise ConfigurationError(
                f"lifetime={self.lifetime!r} is out of range",
                hint=f"pass a lifetime from {SHORTEST_LIFE:.0f} to {FULL_LIFE:.0f} s: "
                "tokens carry whole seconds, and RDS honours none for longer",
            )
        if self.lead <= self.margin:
            raise ConfigurationError(
                f"lead={self.lead!r} is not above margin={self.margin!r}: "
                "a token would stop being used before its successor is due",
                hint="raise lead or lower margin",
            )
        if self.retry_base > self.retry_cap:
            raise ConfigurationError(
                f"retry_base={self.retry_base!r} is above retry_cap={self.retry_cap!r}",
                hint="raise retry_cap or lower retry_base",
            )


def usable_until(token: Token, policy: RefreshPolicy) -> float:
    """Return the first instant at which *token* is not handed out any more."""
    return token.expires_at - _margin(token, policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When the successor of a token may be due.

    Attributes:
        opens_at: Never before this.
        closes_at: Then at last.
        spread: Up to so many seconds before `closes_at`, by a draw.
    """

    opens_at: float
    closes_at: float
    spread: float

    def at(self, draw: float) -> float:
        """Return one of its instants, given a number in [0, 1)."""
        return max(self.opens_at, self.closes_at - draw * self.spread)


def successor_window(token: Token, policy: RefreshPolicy) -> Window:
    """Return when to mint the successor of *token*.

    Args:
        token: The token in use.
        policy: How early to act.

    Returns:
        Instants in the second half of the token's life and before its margin,
        however short that life is: early enough to be ahead of need, late enough
        that no lead turns the refresher into a busy loop.
    """
    life = token.expires_at - token.minted_at
    whole = max(policy.lifetime, 2 * (policy.lead + policy.spread))
    scale = min(1.0, life / whole)
    lead = max(policy.lead * scale, 2 * _margin(token, policy))
    return Window(
        opens_at=token.minted_at + life / 2,
        closes_at=token.expires_at - lead,
        spread=policy.spread * scale,
    )


def successor_due_at(window: Window, policy: RefreshPolicy, *, now: float, draw: float) -> float:
    """Return an instant in *window*, but never at once.

    Args:
        window: Of the token just minted.
        policy: Its `retry_base`.
        now: When that was minted, in Unix seconds, not cut to the second.
        draw: A number in [0, 1), drawn by the caller so that the result repeats.

    Returns:
        An instant at least `retry_base` away: a token made of dying keys may be due when
        it is minted, and that must not become a busy loop.
    """
    return max(window.at(draw), now + policy.retry_base)


def retry_delay(failures: int, policy: RefreshPolicy, *, draw: float) -> float:
    """Return how long to wait after *failures* in a row, at least 1.

    Args:
        failures: How many so far. Any size: the exponent is clamped, for 2**1024
            overflows a float after 8.5 hours of 30 s retries.
        policy: `retry_base` and `retry_cap`.
        draw: A number in [0, 1), drawn by the caller.

    Returns:
        Seconds, above 0 and up to `retry_cap`: full jitter, but never less than a
        tenth of the pause, lest an unlucky draw hammers an endpoint that is down.
    """
    pause = min(policy.retry_cap, policy.retry_base * 2.0 ** min(failures - 1, 32))
    return pause * (0.1 + 0.9 * draw)


def forced_delay(refusals: int) -> float:
    """Return the least distance between two mints forced by a server's refusal.

    Args:
        refusals: Forced mints since a connection last succeeded, at least 1.

    Returns:
        1 s doubling to 30 s: SQLSTATE 28000 also means a missing grant, and a new
        token cannot cure that.
    """
    return min(FORCED_CAP, FORCED_APART * 2.0 ** min(refusals - 1, 16))


def clock_jumped(wall_passed: float, monotonic_passed: float) -> bool:
    """Tell whether the wall clock was stepped, or the machine suspended, between two looks."""
    return abs(wall_passed - monotonic_passed) > CLOCK_JUMP


def credentials_due_at(
    credentials: Credentials, fetched_at: float, policy: RefreshPolicy, *, draw: float
) -> float:
    """Return the instant from which credentials are looked at again.

    Args:
        credentials: The snapshot in hand.
        fetched_at: When it was taken.
        policy: Its `lifetime` is a refresh cycle; a `spread` of 0 makes *draw* count for
            nothing.
        draw: A number in [0, 1), drawn by the caller so that the result repeats.

    Returns:
        Half-way to the end of the keys, so that an outage of AWS for less than half of
        their life is not felt by anybody. Without a known end: half a token's life on,
        because a file may have been rotated. Up to half of that earlier, so that a fleet
        started at once does not call STS at once.
    """
    end = credentials.expires_at
    wait = policy.lifetime / 2 if end is None else (end - fetched_at) / 2
    if policy.spread:
        wait *= 1.0 - KEYS_SPREAD * draw
    # A provider may serve the same dying keys again: half-way, half-way, … has no end.
    return fetched_at + max(wait, policy.retry_base)


def credentials_retry_delay(
    failures: int, good_for: float, policy: RefreshPolicy, *, draw: float
) -> float:
    """Return how long to wait after *failures* looks at credentials in a row, at least 1.

    Args:
        failures: How many so far; the SDK's own retries within a look are not counted.
        good_for: For how many more seconds the keys in hand can be relied on: 0 or less
            when there are none, or they are suspect, or their end is not known.
        policy: `retry_base`, `retry_cap` and `margin`.
        draw: A number in [0, 1), drawn by the caller.

    Returns:
        Seconds: `retry_delay`, or two to four fifths of the time that is left until
        `margin` before the end of the keys, if that is longer. While they are good no
        connection needs others, and those who do need some meet an STS that is not
        flooded by those who do not.
    """
    least, most = CALM
    calm = (good_for - policy.margin) * (least + (most - least) * draw)
    return max(calm, retry_delay(failures, policy, draw=draw))


def can_sign(credentials: Credentials, now: float) -> bool:
    """Tell whether a token signed by *credentials* at *now* would be usable for a while."""
    return credentials.expires_at is None or credentials.expires_at - now > WORTH_SIGNING


def _margin(token: Token, policy: RefreshPolicy) -> float:
    return min(policy.margin, MARGIN_SHARE * (token.expires_at - token.minted_at))
