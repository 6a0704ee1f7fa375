"""Events are frozen facts, the log says them, and an observer can do no harm."""

from __future__ import annotations

import dataclasses
import functools
import logging
from typing import Any

import pytest

from rds_iam_async import ConfigurationError, CredentialsError, Endpoint, TokenRefresher
from rds_iam_async import telemetry as t

ENDPOINT = Endpoint(host="db", port=5432, user="app", region="eu-west-1")
ERROR = CredentialsError("no keys")
EVENTS: list[tuple[t.Event, int, str]] = [
    (
        t.TokenMinted(
            endpoint=ENDPOINT,
            access_key_id="AKIA",
            minted_at=0.0,
            expires_at=900.0,
            usable_until=870.0,
            cold=False,
            took=0.0,
        ),
        logging.DEBUG,
        "minted a token for app@db:5432 (eu-west-1), good for 900 s, signed by AKIA",
    ),
    (
        t.TokenMinted(
            endpoint=ENDPOINT,
            access_key_id="AKIA",
            minted_at=0.0,
            expires_at=900.0,
            usable_until=870.0,
            cold=True,
            took=0.0,
        ),
        logging.DEBUG,
        "minted a cold token",
    ),
    (
        t.MintFailed(endpoint=ENDPOINT, error=ERROR, failures=3, retry_in=1.5, usable_for=200.0),
        logging.WARNING,
        "failure 3, next try in 1.5 s, the one in hand is good for 200 s more): no keys",
    ),
    (
        t.TokenRejected(endpoint=ENDPOINT, age=7.0, retried=True),
        logging.WARNING,
        "refused a token 7 s old; trying once more",
    ),
    (
        t.TokenRejected(endpoint=ENDPOINT, age=None, retried=False),
        logging.WARNING,
        "refused a token; not tried again",
    ),
    (t.ColdConnect(endpoint=ENDPOINT, waited=0.25), logging.INFO, "waited 0.250 s for a token"),
    (
        t.ColdConnect(endpoint=ENDPOINT, waited=5.0, error=ERROR),
        logging.WARNING,
        "got no token after 5.000 s: no keys",
    ),
    (
        t.CredentialsResolved(
            access_key_id="AKIA", provider="env", expires_at=None, took=0.02, source=0
        ),
        logging.INFO,
        "resolved AWS credentials AKIA from env in 0.020 s",
    ),
    (
        t.CredentialsFailed(
            error=ERROR,
            provider=None,
            failures=2,
            retry_in=0.7,
            usable_for=None,
            took=0.1,
            source=0,
        ),
        logging.WARNING,
        "no AWS credentials (failure 2, next try in 0.7 s): no keys",
    ),
    (t.ClockJumped(by=-600.0), logging.WARNING, "the clock jumped by -600 s"),
    (
        t.RefresherRestarted(error=ZeroDivisionError("bug"), restart_in=0.5),
        logging.ERROR,
        "crashed and restarts in 0.5 s",
    ),
    (
        t.TokensAccepted(endpoint=ENDPOINT, rejections=3, after=9.0),
        logging.DEBUG,
        "accepts tokens after 3 refused ones",
    ),
    (t.RefresherRecovered(crashes=2, after=9.0), logging.DEBUG, "runs again after 2 crashes"),
    (t.RefresherClosed(), logging.DEBUG, "refresher closed"),
]


@pytest.mark.parametrize(
    ("event", "level", "words"), EVENTS, ids=[type(e).__name__ for e, _, _ in EVENTS]
)
def test_each_event_is_logged_in_plain_words(
    event: t.Event, level: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Trouble as WARNING or ERROR, so that a default configuration shows it."""
    with caplog.at_level(logging.DEBUG, "rds_iam_async"):
        t.log_events(event)
    [record] = caplog.records
    assert (record.levelno, record.name) == (level, "rds_iam_async")
    assert words in record.getMessage()


def test_every_kind_of_event_is_covered_above() -> None:
    """A new kind gets its line."""
    kinds = {kind.__name__ for kind in t.Event.__subclasses__()}
    assert {type(event).__name__ for event, _, _ in EVENTS} == kinds


def test_an_unknown_event_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    """A newer kind under an older listener."""
    with caplog.at_level(logging.DEBUG, "rds_iam_async"):
        t.log_events(t.Event())
    assert caplog.messages == ["Event()"]


def test_events_are_frozen() -> None:
    """An observer cannot change what the next one sees."""
    event, _, _ = EVENTS[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.cold = True  # type: ignore[attr-defined]


def test_an_observer_that_raises_is_reported_once_and_never_felt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is called on: it may be broken for one kind of event only."""
    calls = []

    def broken(event: t.Event) -> None:
        calls.append(event)
        raise ZeroDivisionError("theirs")

    observe = t.guarded(broken)
    for event, _, _ in EVENTS:
        observe(event)
    assert len(calls) == len(EVENTS)
    [record] = caplog.records
    assert record.exc_info is not None
    assert "ZeroDivisionError" in caplog.text


def test_of_several_observers_one_that_raises_keeps_none_from_hearing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each is guarded by itself, in the order given, and each is reported once."""
    heard: list[tuple[str, t.Event]] = []

    def broken(event: t.Event) -> None:
        heard.append(("broken", event))
        raise ZeroDivisionError("theirs")

    def whole(event: t.Event) -> None:
        heard.append(("whole", event))

    observe = t.all_of(broken, whole, broken)
    event = t.RefresherClosed()
    observe(event)
    assert heard == [("broken", event), ("whole", event), ("broken", event)]
    observe(event)
    assert len(heard) == 6
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def an_async_one(event: t.Event) -> None:
    """As someone may write it who is used to async callbacks."""


class AsyncCall:
    async def __call__(self, event: t.Event) -> None:
        """The same as an object."""


@pytest.mark.parametrize(
    ("observe", "words"),
    [
        (None, "the observer is a NoneType"),
        ([t.log_events], "the observer is a list"),
        (t.prometheus_events, "prometheus_events itself"),
        (t.otel_events, "otel_events itself"),
        (t.all_of, "all_of itself"),
        (an_async_one, "async"),
        (functools.partial(an_async_one), "async"),
        (AsyncCall(), "async"),
    ],
    ids=["none", "list", "prometheus", "otel", "all_of", "async", "partial", "async object"],
)
def test_what_events_cannot_be_given_to_is_refused_at_once(observe: Any, words: str) -> None:
    """Not found in the log of the night in which the metrics were wanted."""
    for give in (t.all_of, lambda observe: TokenRefresher(observe=observe)):
        with pytest.raises(ConfigurationError, match=words) as raised:
            give(observe)
        assert raised.value.hint
