"""L10, L12, L13: tokens for one endpoint when all is not well."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import pytest

from rds_iam_async import (
    ConfigurationError,
    Credentials,
    CredentialsError,
    Endpoint,
    MintError,
    RefreshPolicy,
    Token,
)
from rds_iam_async._clock import SystemClock
from rds_iam_async._credential_cache import CredentialCache
from rds_iam_async._supply import TokenSupply
from rds_iam_async.telemetry import (
    ColdConnect,
    MintFailed,
    TokenMinted,
    TokenRejected,
    TokensAccepted,
)
from rds_iam_async.testing import FakeClock

from .conftest import FakeAws, Seen
from .virtual_time import WITHOUT_WAITING

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """The bounds here are of the loop's time: fractions of a second, and exact."""
    return WITHOUT_WAITING


@pytest.fixture
def supply(aws: FakeAws, clock: FakeClock, seen: Seen, endpoint: Endpoint) -> TokenSupply:
    policy = RefreshPolicy(wait=0.5)
    cache = CredentialCache(aws, policy=policy, clock=clock, observe=seen)
    return TokenSupply(
        endpoint, cache, policy=policy, clock=clock, observe=seen, on_cold=lambda: None
    )


def signer(password: str) -> str:
    return password.partition("X-Amz-Credential=")[2].partition("%2F")[0]


async def test_fifty_cold_connects_cost_one_mint_and_one_fetch(
    supply: TokenSupply, aws: FakeAws, seen: Seen
) -> None:
    """L12: they join instead of failing."""
    tokens = await asyncio.gather(*(supply.obtain() for _ in range(50)))
    assert len({token.password for token in tokens}) == 1
    assert (supply.mints, supply.cold_mints, aws.calls) == (1, 1, 1)
    assert len(seen.of(TokenMinted)) == 1
    assert len(seen.of(ColdConnect)) == 50


async def test_a_cold_connect_with_keys_in_hand_waits_for_nobody(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """After a suspend, while STS is down: the keys sign at once."""
    await supply.obtain()
    aws.goes_down()
    clock.suspend(1200)
    assert supply.read() is None
    token = await supply.obtain()
    assert token.minted_at == clock.wall()
    assert aws.calls == 1


async def test_a_cold_connect_without_keys_fails_with_the_reason(
    supply: TokenSupply, aws: FakeAws, seen: Seen
) -> None:
    """And the reason is told to status and observer."""
    aws.goes_down()
    with pytest.raises(CredentialsError, match="the test said so"):
        await supply.obtain()
    assert (supply.failures, supply.last_error) == (1, aws.error)
    assert [event.error for event in seen.of(ColdConnect)] == [aws.error]  # type: ignore[attr-defined]


async def test_a_cold_connect_is_bounded(supply: TokenSupply, aws: FakeAws, seen: Seen) -> None:
    """L12: `pool_timeout` does not cover it, so the bound is ours.

    That its patience ended is told of the connect: the mint has not failed yet.
    """
    aws.delay = 1e9
    with pytest.raises(MintError, match=r"within 0.5 s") as raised:
        await asyncio.wait_for(supply.obtain(), 5)
    assert (supply.failures, supply.last_error) == (1, raised.value)
    assert seen.of(MintFailed) == []
    assert [event.error for event in seen.of(ColdConnect)] == [raised.value]  # type: ignore[attr-defined]


async def test_keys_that_are_handed_out_dead_are_an_error_not_a_loop(
    supply: TokenSupply, aws: FakeAws
) -> None:
    """A provider may serve expired keys for ever."""
    aws.lifetime = 0.5
    with pytest.raises(CredentialsError, match="already expired"):
        await supply.obtain()


async def test_a_refused_token_is_replaced_by_one_signed_with_fresh_keys(
    supply: TokenSupply, aws: FakeAws, seen: Seen, clock: FakeClock
) -> None:
    """L13: a role session revoked while its keys are in hand; no peer survives this."""
    refused = (await supply.obtain()).password
    aws.lifetime = 900  # shorter than what is in hand, and better all the same
    await clock.advance(7)
    replacement = await supply.replace(refused)
    assert replacement is not None
    assert (signer(refused), signer(replacement)) == ("ASIAFAKE1", "ASIAFAKE2")
    assert supply.read() == replacement
    [event] = seen.of(TokenRejected)
    assert (event.age, event.retried) == (7, True)  # type: ignore[attr-defined]


async def test_all_who_hold_the_same_refused_token_share_one_replacement(
    supply: TokenSupply, aws: FakeAws
) -> None:
    """L13: also those that come when it is already there."""
    refused = (await supply.obtain()).password
    shared = await asyncio.gather(*(supply.replace(refused) for _ in range(20)))
    shared.append(await supply.replace(refused))
    assert len(set(shared)) == 1
    assert shared[0] != refused
    assert (supply.mints, aws.calls, supply.rejections) == (2, 2, 21)


async def test_a_refused_token_is_withheld_while_its_replacement_is_made(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """Connects that begin meanwhile join the replacement instead of being refused, too."""
    refused = (await supply.obtain()).password
    aws.delay = 0.3
    replacing = asyncio.ensure_future(supply.replace(refused))
    await clock.settle()
    assert supply.read() is None
    joining = asyncio.ensure_future(supply.obtain())
    await clock.advance(0.3)
    assert await replacing == (await joining).password
    assert aws.calls == 2


async def test_the_same_string_is_never_sent_twice(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: the same key signs the same bytes within one second, so the mint waits for the next."""

    async def the_same_keys() -> object:
        return supply.keys.held

    refused = (await supply.obtain()).password
    aws.snapshot = the_same_keys  # type: ignore[method-assign,assignment]
    clock.step(0.25)
    replacing = asyncio.ensure_future(supply.replace(refused))
    await clock.advance(0.74)
    assert not replacing.done()
    await clock.advance(0.01)
    replacement = await replacing
    assert replacement not in (None, refused)


async def test_forced_mints_back_off_while_they_do_not_help(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: a missing grant; the driver's error goes to the caller instead of another try."""
    await supply.obtain()
    forced_at = []
    for _ in range(100):
        before = supply.mints
        replacement = await supply.replace(supply.read() or "")
        if supply.mints > before:
            forced_at.append(clock.wall())
            assert replacement is not None
        else:
            assert replacement is None
        await clock.advance(1)
        await supply.obtain()
    gaps = [later - earlier for earlier, later in pairwise(forced_at)]
    assert gaps == [1, 2, 4, 8, 16, 30, 30]


async def test_the_first_success_after_refusals_is_told_once(
    supply: TokenSupply, clock: FakeClock, seen: Seen
) -> None:
    """With how many there were, and for how long; a healthy connect is no event."""
    refused = (await supply.obtain()).password
    supply.accepted(refused)
    assert seen.of(TokensAccepted) == []
    clock.step(5)
    assert await supply.replace(refused) is not None
    await clock.advance(3)
    for _ in range(2):
        supply.accepted("whatever")
    [told] = seen.of(TokensAccepted)
    assert told == TokensAccepted(endpoint=supply.endpoint, rejections=1, after=3)


async def test_a_success_ends_the_back_off(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: the next refusal is the first again, though still a second after the last mint."""
    refused = (await supply.obtain()).password
    for _ in range(5):
        refused = await supply.replace(refused) or ""
        supply.accepted("whatever")
        again = asyncio.ensure_future(supply.replace(refused))
        await clock.advance(1)
        refused = await again or ""
        assert refused
        supply.accepted("whatever")
        await clock.advance(1)


async def test_a_refusal_while_the_endpoint_is_down_signs_with_the_keys_in_hand(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """A clock-skewed or throttled refusal must not wait for an outage to end."""
    refused = (await supply.obtain()).password
    aws.goes_down()
    clock.step(5)
    replacement = await supply.replace(refused)
    assert replacement not in (None, refused)
    assert signer(replacement or "") == "ASIAFAKE1"


async def test_a_replacement_that_cannot_be_made_leaves_the_drivers_error(
    supply: TokenSupply, aws: FakeAws, seen: Seen
) -> None:
    """`None` says: raise what the server said."""
    aws.lifetime = 2
    refused = (await supply.obtain()).password
    aws.goes_down()
    await aws.clock.advance(1.5)
    assert await supply.replace(refused) is None
    [event] = seen.of(TokenRejected)
    assert not event.retried  # type: ignore[attr-defined]


async def test_a_failure_leaves_a_usable_token_in_the_slot(
    supply: TokenSupply, aws: FakeAws
) -> None:
    """L8: never cleared, never replaced."""
    token: Token = await supply.obtain()
    supply.note_failure(CredentialsError("no"))
    assert supply.read() == token.password
    assert supply.failures == 1


async def test_a_refusal_while_the_endpoint_hangs_is_over_before_anybody_gives_up(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L8, L13: the keys in hand may be fine; a look that hangs costs a share of `wait`."""
    refused = (await supply.obtain()).password
    aws.delay = 1e9
    clock.step(5)
    replacing = asyncio.ensure_future(supply.replace(refused))
    joining = [asyncio.ensure_future(supply.obtain()) for _ in range(5)]
    replacement = await asyncio.wait_for(replacing, 0.45)  # `wait` is 0.5
    assert signer(replacement or "") == "ASIAFAKE1"
    assert {(await joined).password for joined in joining} == {replacement}


async def test_a_connection_accepted_meanwhile_does_not_clear_the_suspicion(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: it may have been let in with the old token, before the revocation reached it."""
    refused = (await supply.obtain()).password
    aws.lifetime = 900  # shorter than what is in hand: only suspicion makes it better
    aws.delay = 0.1
    clock.step(5)
    replacing = asyncio.ensure_future(supply.replace(refused))
    await clock.settle()
    supply.accepted("whatever")
    await clock.advance(0.1)
    assert signer(await replacing or "") == "ASIAFAKE2"


async def test_after_a_success_the_longer_lived_keys_sign_again(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L3: a refusal that was not the key's fault is forgiven."""
    refused = (await supply.obtain()).password
    aws.goes_down()
    clock.step(5)
    assert await supply.replace(refused) is not None
    supply.accepted("whatever")
    aws.comes_back()
    aws.lifetime = 60
    await clock.advance(1)
    await supply.keys.refresh()
    held = supply.keys.held
    assert held is not None
    assert held.access_key_id == "ASIAFAKE1"


async def test_a_cold_connect_has_keys_that_are_due_looked_at_behind(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L9: without a background task, rotated files are picked up all the same."""
    await supply.obtain()
    clock.suspend(3600 - 900)
    assert (await supply.obtain()).minted_at == clock.wall()
    await clock.settle()
    assert aws.calls == 2


async def test_a_source_whose_error_is_one_of_ours_is_an_outage_like_any_other(
    supply: TokenSupply, aws: FakeAws
) -> None:
    """L12: half a key file makes no key; the connect must see an operational error."""
    aws.error = ConfigurationError("secret_access_key is empty", hint="look at the file")
    with pytest.raises(CredentialsError, match="secret_access_key is empty") as caught:
        await supply.obtain()
    assert caught.value.hint == "look at the file"


async def test_dying_keys_that_are_served_again_and_again_are_no_busy_loop(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """The next mint is half a second off at least."""
    aws.lifetime = 1.5
    await supply.obtain()
    assert supply.next_mint_at >= clock.wall() + 0.5


async def test_a_token_minted_ahead_while_a_refusal_was_on_its_way_is_not_its_replacement(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: the role session was revoked before the refresher minted with its keys once more."""
    refused = (await supply.obtain()).password
    clock.step(5)
    ahead = supply.mint_from_hand()
    assert ahead is not None
    replacement = await supply.replace(refused)
    assert (signer(ahead.password), signer(replacement or "")) == ("ASIAFAKE1", "ASIAFAKE2")
    # Nor is what it was on the way to: it is shared, also after the next ordinary mint.
    assert await supply.replace(ahead.password) == replacement
    clock.step(5)
    after = supply.mint_from_hand()
    assert after is not None
    assert await supply.replace(refused) == after.password
    assert aws.calls == 2


async def test_the_refresher_mints_with_dead_keys_while_their_successor_is_fetched(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: who hears of the same refusal then waits for the successor, too."""
    refused = (await supply.obtain()).password
    aws.delay = 0.1
    clock.step(5)
    first = asyncio.ensure_future(supply.replace(refused))
    await clock.settle()
    assert supply.mint_from_hand() is not None
    second = asyncio.ensure_future(supply.replace(refused))
    await clock.advance(0.1)
    assert await first == await second
    assert signer(await second or "") == "ASIAFAKE2"


async def test_what_was_withheld_is_not_signed_again(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: the same key in the same second signs what may be dead as well."""

    async def the_same_keys() -> object:
        return supply.keys.held

    refused = (await supply.obtain()).password
    aws.snapshot = the_same_keys  # type: ignore[method-assign,assignment]
    clock.step(5)
    ahead = supply.mint_from_hand()
    assert ahead is not None
    replacing = asyncio.ensure_future(supply.replace(refused))
    await clock.advance(1)
    assert await replacing not in (None, refused, ahead.password)


async def test_keys_fetched_after_the_refused_token_was_signed_may_be_revoked_as_well(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: of two keys that live about as long, the one in hand must not win."""
    refused = (await supply.obtain()).password
    clock.step(5)
    await supply.keys.refresh()
    aws.lifetime = 900
    replacement = await supply.replace(refused)
    assert signer(replacement or "") == "ASIAFAKE3"


async def test_a_look_that_began_before_the_refusal_is_not_the_forced_one(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: what it gives may have been issued, and revoked, before."""
    refused = (await supply.obtain()).password
    clock.step(5)
    aws.delay = 0.05
    supply.keys.begin()
    await clock.settle()
    replacing = asyncio.ensure_future(supply.replace(refused))
    await clock.advance(0.05)
    assert not replacing.done()
    aws.lifetime = 3700
    await clock.advance(0.05)
    assert signer(await replacing or "") == "ASIAFAKE3"


async def test_keys_that_come_late_are_used_at_once(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: not when the back-off is over: what was refused was signed by others."""
    refused = (await supply.obtain()).password
    clock.step(5)
    aws.delay = 0.9
    second = await supply.replace(refused)
    assert signer(second or "") == "ASIAFAKE1"  # the look took too long to wait for
    assert await supply.replace(second or "") is None
    await clock.advance(0.9)
    third = await supply.replace(second or "")
    assert signer(third or "") == "ASIAFAKE2"
    assert (aws.calls, supply.read()) == (2, third)


async def test_what_was_held_before_a_jump_is_forgotten_when_the_server_takes_what_is_held_now(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """The clock was right to jump: a later refusal is of another kind."""
    await supply.obtain()
    clock.step(10)
    after = supply.mint_from_hand()
    assert after is not None
    supply.accepted(after.password)
    clock.step(5)
    replacement = await supply.replace(after.password)
    assert signer(replacement or "") == "ASIAFAKE2"


async def test_a_fresh_look_is_made_though_the_one_under_way_fails(
    supply: TokenSupply, aws: FakeAws, clock: FakeClock
) -> None:
    """L13: that one may have failed for a reason of its own."""
    refused = (await supply.obtain()).password
    clock.step(5)
    aws.delay = 0.05
    aws.goes_down()
    supply.keys.begin()
    await clock.settle()
    replacing = asyncio.ensure_future(supply.replace(refused))
    await clock.settle()
    await clock.advance(0.05)
    aws.comes_back()
    await clock.advance(1)
    assert signer(await replacing or "") == "ASIAFAKE3"


def test_two_loops_at_once_make_one_replacement(seen: Seen, endpoint: Endpoint) -> None:
    """L13, L20: the second joins what the first makes, though each can await its own tasks only."""

    class Role:
        looks = 0

        async def snapshot(self) -> Credentials:
            self.looks += 1
            name = f"ASIAFAKE{self.looks}"
            await asyncio.sleep(0.05)
            return Credentials(
                access_key_id=name,
                secret_access_key="s",
                session_token="t",
                expires_at=time.time() + 3600,
            )

    clock, policy = SystemClock(), RefreshPolicy()
    keys = CredentialCache(Role(), policy=policy, clock=clock, observe=seen)
    supply = TokenSupply(
        endpoint, keys, policy=policy, clock=clock, observe=seen, on_cold=lambda: None
    )

    async def main() -> None:  # in a loop that waits: the other one is in a thread
        refused = (await supply.obtain()).password

        def elsewhere() -> str | None:
            return asyncio.run(supply.replace(refused))

        here, there = await asyncio.gather(supply.replace(refused), asyncio.to_thread(elsewhere))
        assert here == there
        assert signer(here or "") not in ("", "ASIAFAKE1")

    asyncio.run(main())
