"""L7: a read refuses a token that either clock calls old."""

from __future__ import annotations

import threading

import pytest

from rds_iam_async import Endpoint, RefreshPolicy, Token
from rds_iam_async._life import life_of
from rds_iam_async._slot import Slot
from rds_iam_async.testing import FakeClock


def put(slot: Slot, token: Token, clock: FakeClock) -> None:
    """Put a token that was made now; its last use is 30 s before its end."""
    life = life_of(
        token, RefreshPolicy(), access_key_id="AKIA", wall=clock.wall(), boot=clock.boot()
    )
    slot.put(token, life)


@pytest.fixture
def slot(clock: FakeClock, endpoint: Endpoint) -> Slot:
    slot = Slot(clock)
    now = clock.wall()
    token = Token(endpoint=endpoint, password="good", minted_at=now, expires_at=now + 900)
    put(slot, token, clock)
    return slot


def test_an_empty_slot_reads_none(clock: FakeClock) -> None:
    """There is nothing to send before the first mint."""
    slot = Slot(clock)
    assert (slot.read(), slot.current(), slot.usable_for()) == (None, None, 0.0)


@pytest.mark.anyio
async def test_a_token_is_read_until_its_last_use_and_not_after(
    slot: Slot, clock: FakeClock
) -> None:
    """The bound is exclusive, to the instant."""
    await clock.advance(869.5)
    assert (slot.read(), slot.usable_for()) == ("good", 0.5)
    await clock.advance(0.5)
    assert (slot.read(), slot.current(), slot.usable_for()) == (None, None, 0.0)


@pytest.mark.anyio
async def test_a_clock_set_back_does_not_revive_a_dead_token(slot: Slot, clock: FakeClock) -> None:
    """Wall time alone would: boot time has seen its age."""
    await clock.advance(870)
    clock.step(-600)
    assert slot.read() is None
    assert slot.usable_for() == 0.0


def test_a_suspend_ages_a_token(slot: Slot, clock: FakeClock) -> None:
    """Monotonic time stands still in it; wall and boot time do not."""
    clock.suspend(1200)
    assert slot.read() is None


def test_a_token_from_a_clock_far_ahead_is_not_sent(slot: Slot, clock: FakeClock) -> None:
    """It was dated by a clock that has since been set back, and would come from the future."""
    clock.step(-300)
    assert slot.read() == "good"
    clock.step(-0.5)
    assert slot.read() is None


def test_the_slot_is_read_whole_from_any_thread(
    slot: Slot, clock: FakeClock, endpoint: Endpoint
) -> None:
    """L20: no lock, and never half of one token and half of another."""
    done, torn = threading.Event(), []

    def read() -> None:
        while not done.is_set():
            token = slot.current()
            if token is not None and token.password != f"{token.minted_at}":
                torn.append(token)

    put_numbered(slot, endpoint, clock, 0)
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(5000):
        put_numbered(slot, endpoint, clock, number % 100)
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []


def put_numbered(slot: Slot, endpoint: Endpoint, clock: FakeClock, number: int) -> None:
    minted_at = (now := clock.wall()) - number
    token = Token(
        endpoint=endpoint, password=f"{minted_at}", minted_at=minted_at, expires_at=now + 900
    )
    put(slot, token, clock)


def another(slot: Slot, clock: FakeClock, endpoint: Endpoint) -> Token:
    """Put a token that is minted now."""
    now = clock.wall()
    token = Token(endpoint=endpoint, password="by this clock", minted_at=now, expires_at=now + 900)
    put(slot, token, clock)
    return token


@pytest.mark.anyio
@pytest.mark.parametrize("jump", [600, -600])
async def test_what_was_held_before_a_jump_can_be_put_back_until_it_is_old(
    slot: Slot, clock: FakeClock, endpoint: Endpoint, jump: float
) -> None:
    """It is the clock that may be wrong: only boot time tells the age of that token."""
    await clock.advance(400)
    clock.step(jump)
    another(slot, clock, endpoint)
    assert slot.read() == "by this clock"
    assert slot.put_back("by this clock") is not None
    assert (slot.read(), slot.usable_for()) == ("good", 470.0)
    another(slot, clock, endpoint)
    await clock.advance(469.5)
    assert slot.put_back("by this clock") is not None
    assert slot.usable_for() == 0.5
    another(slot, clock, endpoint)
    await clock.advance(0.5)
    assert slot.put_back("by this clock") is None
    assert slot.read() == "by this clock"


@pytest.mark.anyio
async def test_without_a_jump_nothing_is_put_back(
    slot: Slot, clock: FakeClock, endpoint: Endpoint
) -> None:
    """A refused token that was replaced in due time is dead, and so may be those before it."""
    await clock.advance(300)
    clock.suspend(100)
    another(slot, clock, endpoint)
    assert slot.put_back("by this clock") is None


def test_what_was_refused_is_not_put_back(slot: Slot, clock: FakeClock, endpoint: Endpoint) -> None:
    """The same string is never sent twice."""
    clock.step(600)
    another(slot, clock, endpoint)
    assert slot.put_back("good") is None
