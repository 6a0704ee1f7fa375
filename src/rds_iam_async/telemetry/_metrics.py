"""What is measured, and what each event adds to it; the same for every metrics library.

Names, units and attributes follow OpenTelemetry's semantic conventions. Only counters and
one gauge say which endpoint: ten thousand endpoints would be a hundred thousand series of
histogram buckets.

Source:
    https://opentelemetry.io/docs/specs/semconv/general/metrics/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .._errors import RdsIamError
from .._token import Endpoint
from ._events import (
    ClockJumped,
    ColdConnect,
    CredentialsFailed,
    CredentialsResolved,
    Event,
    MintFailed,
    RefresherRestarted,
    TokenMinted,
    TokenRejected,
)
from ._watching import Watching

OF_ENDPOINT = ("server.address", "server.port", "user.name", "cloud.region")
REASON = "error.type"
PROVIDER = "rds_iam.credential.provider"

WAITS = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets for what waits for AWS; the bound on each is 5 s by default."""

SIGNING = (0.00005, 0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1)
"""Buckets for some 20 µs of arithmetic (`benchmarks/hot_path.py`), more if the CPU is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One instrument.

    Attributes:
        name: OpenTelemetry's; Prometheus's follows from it.
        unit: In UCUM, as OpenTelemetry wants it.
        text: What it says.
        attributes: What it is told apart by.
        buckets: Their upper bounds, of a histogram.
    """

    name: str
    unit: str
    text: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


MINTS = Metric(
    name="rds_iam.token.mints",
    unit="{mint}",
    text="Tokens minted.",
    attributes=OF_ENDPOINT,
)
MINT_FAILURES = Metric(
    name="rds_iam.token.mint.failures",
    unit="{failure}",
    text="Attempts to mint a token that failed.",
    attributes=(*OF_ENDPOINT, REASON),
)
REJECTIONS = Metric(
    name="rds_iam.token.rejections",
    unit="{rejection}",
    text="Connects whose token the server refused.",
    attributes=OF_ENDPOINT,
)
COLD_CONNECTS = Metric(
    name="rds_iam.cold_connects",
    unit="{connect}",
    text="Connects that found no usable token and waited for one.",
    attributes=(*OF_ENDPOINT, REASON),
)
RESTARTS = Metric(
    name="rds_iam.refresher.restarts",
    unit="{restart}",
    text="Crashes of the refresher, which restarted.",
)
CLOCK_JUMPS = Metric(
    name="rds_iam.clock.jumps",
    unit="{jump}",
    text="Steps of the wall clock, and suspends, that were noticed.",
)
COUNTERS = (MINTS, MINT_FAILURES, REJECTIONS, COLD_CONNECTS, RESTARTS, CLOCK_JUMPS)

MINT_DURATION = Metric(
    name="rds_iam.token.mint.duration",
    unit="s",
    text="Time to sign a token.",
    buckets=SIGNING,
)
COLD_CONNECT_DURATION = Metric(
    name="rds_iam.cold_connect.duration",
    unit="s",
    text="Time that connects waited for a token.",
    attributes=(REASON,),
    buckets=WAITS,
)
CREDENTIAL_DURATION = Metric(
    name="rds_iam.credential.resolution.duration",
    unit="s",
    text="Time to resolve AWS credentials.",
    attributes=(PROVIDER, REASON),
    buckets=WAITS,
)
HISTOGRAMS = (MINT_DURATION, COLD_CONNECT_DURATION, CREDENTIAL_DURATION)

USABLE_TIME = Metric(
    name="rds_iam.token.usable_time",
    unit="s",
    text="Time for which the token in hand can still be used.",
    attributes=OF_ENDPOINT,
)
FAILED_LOOKS = Metric(
    name="rds_iam.credential.consecutive_failures",
    unit="{failure}",
    text="Looks for AWS credentials that failed since one last did not.",
    attributes=(PROVIDER,),
)
GAUGES = (USABLE_TIME, FAILED_LOOKS)

Measurement = tuple[Metric, float, tuple[str | int, ...]]
"""What to add to, or to record in, which metric; with its attributes' values, "" for none."""


def measured(event: Event) -> Iterator[Measurement]:
    """Yield what *event* adds."""
    match event:
        case TokenMinted():
            yield MINTS, 1, of_endpoint(event.endpoint)
            yield MINT_DURATION, event.took, ()
        case MintFailed():
            yield MINT_FAILURES, 1, (*of_endpoint(event.endpoint), reason(event.error))
        case TokenRejected():
            yield REJECTIONS, 1, of_endpoint(event.endpoint)
        case ColdConnect():
            why = reason(event.error)
            yield COLD_CONNECTS, 1, (*of_endpoint(event.endpoint), why)
            yield COLD_CONNECT_DURATION, event.waited, (why,)
        case CredentialsResolved():
            yield CREDENTIAL_DURATION, event.took, (event.provider, "")
        case CredentialsFailed():
            labels = (event.provider or "", reason(event.error))
            yield CREDENTIAL_DURATION, event.took, labels
        case RefresherRestarted():
            yield RESTARTS, 1, ()
        case ClockJumped():
            yield CLOCK_JUMPS, 1, ()
        case _:
            pass


def gauged(metric: Metric, watching: Watching) -> Iterator[Measurement]:
    """Yield what a gauge shows now."""
    if metric is USABLE_TIME:
        for endpoint, seconds in watching.usable().items():
            yield metric, seconds, of_endpoint(endpoint)
    else:
        for provider, failures in watching.failed_looks().items():
            yield metric, failures, (provider,)


def of_endpoint(endpoint: Endpoint) -> tuple[str | int, ...]:
    """Return the values of `OF_ENDPOINT`."""
    return endpoint.host, endpoint.port, endpoint.user, endpoint.region


def reason(error: Exception | None) -> str:
    """Return why, in one word of a small closed set; "" when nothing went wrong."""
    if error is None:
        return ""
    return error.reason if isinstance(error, RdsIamError) else "_OTHER"
