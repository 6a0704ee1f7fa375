import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists

from rds_iam_async import Endpoint, MintError
from rds_iam_async._demo import Figures, Plan, Report
from rds_iam_async._demo._figures import percentile
from rds_iam_async._demo._our_way import count
from rds_iam_async._demo._stage import Tally
from rds_iam_async.telemetry import ColdConnect, MintFailed, TokenMinted, TokenRejected

ENDPOINT = Endpoint(host="db.example", port=5432, user="app", region="eu-west-1")
NOTHING = Figures(
    connects=0,
    failures=0,
    refused_attempts=0,
    plaintext_attempts=0,
    minted=0,
    signed_on_connect_path=0,
    waited=0.0,
    seconds=0.0,
    latencies=(),
)


def minted(*, at: float = 1000.0, cold: bool = False) -> TokenMinted:
    return TokenMinted(
        endpoint=ENDPOINT,
        access_key_id="AKIA",
        minted_at=at,
        expires_at=at + 4,
        usable_until=at + 3.6,
        cold=cold,
        took=0.0,
    )


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (51, 51), (99, 99), (100, 100)]
)
def test_of_the_first_hundred_numbers_each_percentile_is_itself(
    percent: int, expected: int
) -> None:
    """Nearest rank: one of the values, nothing in between."""
    assert percentile(list(range(100, 0, -1)), percent) == expected


def test_without_values_there_is_no_percentile() -> None:
    """Nothing measured is not the same as 0 ms."""
    assert percentile([], 50) is None


@given(values=lists(floats(allow_nan=False), min_size=1, max_size=300), percent=integers(0, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], percent: int
) -> None:
    """At least *percent* of all are as small, and of those below it there are fewer."""
    found = percentile(values, percent)
    assert found is not None
    below = sum(value < found for value in values)
    up_to = sum(value <= found for value in values)
    assert up_to * 100 >= percent * len(values)
    assert below * 100 < percent * len(values) or below == 0


def test_json_takes_the_figures_of_a_run_without_a_single_success() -> None:
    """What was not measured is null: no NaN, no division by zero."""
    report = Report(workers=4, token_lifetime=4.0, ours=NOTHING, usual=NOTHING)
    read = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert read["latency_ms"] == {"p50": None, "p90": None, "p99": None, "max": None}
    assert read["connects_per_second"] is None
    assert read["usual_way"]["connects"] == 0


def test_figures_are_given_in_ms_and_per_second() -> None:
    """Three connections in two seconds are 1.5 a second, and the slowest is the maximum."""
    ours = replace(NOTHING, connects=3, seconds=2.0, latencies=(0.25, 0.5, 0.125)).to_dict()
    assert ours["connects_per_second"] == 1.5
    assert ours["latency_ms"] == {"p50": 250.0, "p90": 500.0, "p99": 500.0, "max": 500.0}


def test_a_token_minted_ahead_of_need_is_no_signature_on_the_connect_path() -> None:
    """Only what a connection waited for counts there."""
    tally = Tally()
    count(tally, minted(at=1000.0))
    count(tally, minted(at=1002.0))
    assert (tally.minted, tally.minted_at) == (2, 1002.0)
    assert (tally.signed_on_connect_path, tally.waited) == (0, 0.0)


def test_each_connection_that_waited_for_one_cold_mint_counts() -> None:
    """Two that joined the same mint are two."""
    tally = Tally()
    count(tally, minted(cold=True))
    count(tally, ColdConnect(endpoint=ENDPOINT, waited=0.5))
    count(tally, ColdConnect(endpoint=ENDPOINT, waited=0.25, error=MintError("late")))
    assert (tally.minted, tally.signed_on_connect_path, tally.waited) == (1, 2, 0.75)


def test_a_refused_token_that_is_replaced_counts_and_one_that_is_not_does_not() -> None:
    """After a refusal a token is signed while the connection waits: how long is not known."""
    tally = Tally()
    count(tally, TokenRejected(endpoint=ENDPOINT, age=1.0, retried=False))
    assert (tally.signed_on_connect_path, tally.waited) == (0, 0.0)
    count(tally, TokenRejected(endpoint=ENDPOINT, age=1.0, retried=True))
    count(tally, ColdConnect(endpoint=ENDPOINT, waited=0.5))
    assert (tally.signed_on_connect_path, tally.waited) == (2, None)
    assert tally.figures().to_dict()["waited_for_signature_ms"] is None


def test_other_events_count_for_nothing() -> None:
    """A mint that failed in the background is not felt by any connection."""
    tally = Tally()
    count(
        tally,
        MintFailed(
            endpoint=ENDPOINT, error=MintError("no"), failures=1, retry_in=1.0, usable_for=2.0
        ),
    )
    assert tally == Tally()


def test_the_first_three_different_errors_are_kept_by_their_first_lines() -> None:
    """Every failure is counted; what is printed stays short."""
    tally = Tally()
    for text in ("a\nbackground", "a", "", "b", "c"):
        tally.fail(OSError(text))
    assert tally.failures == 5
    assert tally.errors == ["OSError: a", "OSError: ", "OSError: b"]


@given(seconds=integers(1, 3600))
def test_rounds_take_the_time_that_was_asked_for_two_thirds_of_it_ours(seconds: int) -> None:
    """Alternating rounds of equal lengths, however long the run."""
    rounds = Plan(seconds=seconds).rounds()
    ours, usual = rounds[0]
    assert set(rounds) == {(ours, usual)}
    assert ours == 2 * usual
    assert abs(sum(map(sum, rounds)) - seconds) < 1e-6
