"""L5, L8 and the other arithmetic of time; exact, no clock."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis.strategies import DrawFn, composite, floats, integers, just, none, sampled_from

from rds_iam_async import ConfigurationError, Credentials, Endpoint, RefreshPolicy, Token
from rds_iam_async import _schedule as schedule

ENDPOINT = Endpoint(host="db", port=5432, user="app", region="eu-west-1")
draws = floats(0, 1, exclude_max=True)
lives = floats(1, 900)


def token(life: float, minted_at: float = 1000.0) -> Token:
    return Token(endpoint=ENDPOINT, password="t", minted_at=minted_at, expires_at=minted_at + life)


@composite
def policies(draw: DrawFn) -> RefreshPolicy:
    margin = draw(just(0.0) | floats(0.001, 100))  # below that the instants coincide
    lead = draw(floats(0.001, 1000))
    assume(lead > margin)
    return RefreshPolicy(
        lifetime=draw(floats(2, 900)), lead=lead, margin=margin, spread=draw(floats(0, 500))
    )


@pytest.mark.parametrize(
    ("life", "draw", "age"),
    [
        (900, 0.0, 600),  # 300 s left
        (900, 0.5, 570),  # minus half the spread
        (450, 0.0, 300),  # half a life, half a lead
        (10, 0.0, 10 - 10 / 3),  # dying keys: ahead of need all the same
    ],
)
def test_the_successor_is_due_with_a_third_of_its_life_left(
    life: float, draw: float, age: float
) -> None:
    """L5: 300 s before the end of a full token, minus the spread; in proportion below."""
    assert schedule.successor_window(token(life, 0.0), RefreshPolicy()).at(draw) == age


@given(life=lives, draw=draws, policy=policies())
def test_minting_is_never_in_the_first_half_of_a_life_and_always_before_the_margin(
    life: float, draw: float, policy: RefreshPolicy
) -> None:
    """L5, for every policy that can be made and every life."""
    held = token(life)
    due = schedule.successor_window(held, policy).at(draw)
    assert due >= held.minted_at + (held.expires_at - held.minted_at) / 2
    assert due <= schedule.usable_until(held, policy)
    if policy.margin:
        assert due < schedule.usable_until(held, policy)


@given(life=lives, policy=policies())
def test_the_margin_is_thirty_seconds_or_a_tenth_of_the_life(
    life: float, policy: RefreshPolicy
) -> None:
    """L2: a token is handed out only while it will still be valid on arrival."""
    held = token(life)
    usable = schedule.usable_until(held, policy)
    assert usable == held.expires_at - min(policy.margin, 0.1 * (held.expires_at - held.minted_at))


@given(failures=integers(1, 10**6), draw=draws)
def test_a_retry_always_waits_and_never_longer_than_the_cap(failures: int, draw: float) -> None:
    """L8: also after 2**1024 would have overflowed."""
    policy = RefreshPolicy()
    assert 0 < schedule.retry_delay(failures, policy, draw=draw) <= policy.retry_cap


def test_retries_double_from_half_a_second_to_fifteen() -> None:
    """L8: 0.5 s doubling to 15 s, full jitter."""
    longest = [schedule.retry_delay(n, RefreshPolicy(), draw=1.0) for n in range(1, 8)]
    assert longest == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]


@given(life=lives, draw=draws, late=floats(0, 1, exclude_max=True))
def test_no_token_is_due_the_moment_it_is_minted(life: float, draw: float, late: float) -> None:
    """L5: one of dying keys may be due at once; half a second is the least all the same."""
    policy, held = RefreshPolicy(), token(life)
    now = held.minted_at + late
    window = schedule.successor_window(held, policy)
    due = schedule.successor_due_at(window, policy, now=now, draw=draw)
    assert due == max(now + 0.5, window.at(draw))


def test_forced_mints_are_a_second_apart_and_back_off_to_thirty() -> None:
    """L13: 28000 is also a missing grant, which no new token cures."""
    waits = [schedule.forced_delay(n) for n in range(1, 8)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert schedule.forced_delay(10**6) == 30.0


@pytest.mark.parametrize(
    ("wall", "monotonic", "jumped"),
    [(15, 15, False), (15, 10.1, False), (15, 9.9, True), (-600, 15, True), (1215, 15, True)],
)
def test_a_clock_jump_is_more_than_five_seconds_of_drift(
    wall: float, monotonic: float, jumped: bool
) -> None:
    """L6: NTP slewing is no jump; a step, either way, or a suspend is."""
    assert schedule.clock_jumped(wall, monotonic) is jumped


def keys(end: float | None) -> Credentials:
    return Credentials(access_key_id="a", secret_access_key="s", expires_at=end)


@pytest.mark.parametrize(
    ("end", "draw", "due"),
    [
        (3600, 0.0, 1800),  # an hour: half-way, with as much left for an outage
        (3600, 0.5, 1350),  # and the fleet's spread, always earlier
        (900, 0.0, 450),
        (60, 0.0, 30),
        (0.4, 0.0, 0.5),  # dying keys served again and again: no busy loop
        (None, 0.0, 450),  # no known end: once per refresh cycle
        (None, 0.5, 337.5),
    ],
)
def test_keys_are_looked_at_again_by_half_of_their_life(
    end: float | None, draw: float, due: float
) -> None:
    """L9: short-lived keys do not cost a fetch per mint, static ones one per cycle."""
    assert schedule.credentials_due_at(keys(end), 0.0, RefreshPolicy(), draw=draw) == due


@given(life=floats(1860, 100 * 3600), draw=draws)
def test_keys_are_looked_at_again_while_they_can_still_back_a_full_token(
    life: float, draw: float
) -> None:
    """L9: at the latest then, for keys that live for two tokens and two margins."""
    policy = RefreshPolicy()
    due = schedule.credentials_due_at(keys(life), 0.0, policy, draw=draw)
    assert life / 4 <= due <= life - policy.lifetime - policy.margin


@given(draw=draws, end=none() | floats(1, 3600))
def test_without_spread_keys_are_looked_at_again_by_the_clock_alone(
    draw: float, end: float | None
) -> None:
    """A spread of 0 switches all of it off: the same instants at each run."""
    policy = RefreshPolicy(spread=0)
    due = schedule.credentials_due_at(keys(end), 0.0, policy, draw=draw)
    assert due == schedule.credentials_due_at(keys(end), 0.0, policy, draw=0.0)


@given(draw=draws, good_for=floats(0, 7 * 86400), failures=integers(1, 10**6))
def test_a_failed_look_is_repeated_before_the_keys_in_hand_end(
    draw: float, good_for: float, failures: int
) -> None:
    """L8: calm while they are good, and from 49 s before their end never 15 s apart."""
    policy = RefreshPolicy()
    wait = schedule.credentials_retry_delay(failures, good_for, policy, draw=draw)
    assert wait >= schedule.retry_delay(failures, policy, draw=draw)
    assert wait <= max(policy.retry_cap, 0.8 * (good_for - policy.margin))


@pytest.mark.parametrize(
    ("good_for", "draw", "wait"),
    [(2030, 0.0, 800), (2030, 0.5, 1200), (48, 0.999, 15), (0, 1.0, 15), (-5, 0.0, 1.5)],
)
def test_while_keys_are_good_nobody_storms_sts(good_for: float, draw: float, wait: float) -> None:
    """L8: two to four fifths of what is left until the margin; then as after any failure."""
    delay = schedule.credentials_retry_delay(10, good_for, RefreshPolicy(), draw=draw)
    assert round(delay, 1) == wait


@pytest.mark.parametrize(("left", "can"), [(None, True), (1.1, True), (1.0, False), (-1, False)])
def test_keys_about_to_end_sign_nothing(left: float | None, can: bool) -> None:
    """L2: X-Amz-Date is cut to the second, so the last second of a key makes no usable token."""
    assert schedule.can_sign(keys(None if left is None else 50 + left), 50.0) is can


@pytest.mark.parametrize(
    ("field", "numbers"),
    [
        (field, {field: value})
        for field in ("lifetime", "lead", "spread", "margin", "retry_base", "retry_cap", "wait")
        for value in (-1, math.nan, math.inf, "5", True, None)
    ]
    + [
        ("lifetime", {"lifetime": 901}),
        ("lifetime", {"lifetime": 1.9}),
        ("lifetime", {"lifetime": 0}),
        ("lead", {"lead": 30}),
        ("lead", {"margin": 300}),
        ("lead", {"lead": 0}),
        ("retry_base", {"retry_base": 16}),
        ("retry_cap", {"retry_cap": 0.1}),
        ("wait", {"wait": 0}),
    ],
)
def test_a_policy_refuses_numbers_that_cannot_be_meant(field: str, numbers: dict[str, Any]) -> None:
    """Negative, NaN, infinite, no number, contradictory: the message names the field."""
    with pytest.raises(ConfigurationError, match=field) as caught:
        RefreshPolicy(**numbers)
    assert caught.value.hint


@pytest.mark.parametrize("lifetime", [2, 4, 60, 900])
def test_the_default_numbers_go_with_any_lifetime(lifetime: float) -> None:
    """Compressed time needs one knob only."""
    assert RefreshPolicy(lifetime=lifetime).lifetime == lifetime


@given(life=sampled_from([900.0]), draw=draws)
def test_a_fleet_is_spread_over_a_minute(life: float, draw: float) -> None:
    """L5: the spread moves a full token's mint by up to 60 s, always earlier."""
    due = schedule.successor_window(token(life, 0.0), RefreshPolicy()).at(draw)
    assert due == 600 - draw * 60
