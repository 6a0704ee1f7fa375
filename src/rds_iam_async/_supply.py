"""The supply of tokens for one endpoint: read the slot, mint into it, replace a refused one."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import anyio

from ._clock import Clock
from ._credential_cache import CredentialCache
from ._errors import CredentialsError, MintError, RdsIamError
from ._life import Life
from ._mint import mint
from ._replacement import Replacement, next_second
from ._schedule import IMPORT_WAIT, RefreshPolicy, successor_due_at
from ._slot import Slot
from ._token import Endpoint, Token
from .telemetry import (
    ColdConnect,
    MintFailed,
    Observer,
    TokenMinted,
    TokenRejected,
    TokensAccepted,
)


class TokenSupply:
    """Everything that happens to the tokens of one endpoint.

    `read` is all that a healthy connect ever calls. `mint_from_hand` is what the
    refresher calls ahead of need; `obtain` and `replace` are for connections that found
    no usable token, or whose token was refused.
    """

    __slots__ = (
        "_clock",
        "_noted_looks",
        "_observe",
        "_on_cold",
        "_policy",
        "_rejected_since",
        "_rejections_told",
        "_replacement",
        "cold_mints",
        "endpoint",
        "failures",
        "keys",
        "last_error",
        "mints",
        "next_mint_at",
        "read",
        "rejections",
        "slot",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        keys: CredentialCache,
        *,
        policy: RefreshPolicy,
        clock: Clock,
        observe: Observer,
        on_cold: Callable[[], None],
    ) -> None:
        self.endpoint = endpoint
        self.keys = keys
        self._policy = policy
        self._clock = clock
        self._observe = observe
        self._on_cold = on_cold
        self.slot = Slot(clock)
        self.read = self.slot.read
        self._replacement = Replacement(
            endpoint, self.slot, keys, self.mint_from_hand, policy=policy, clock=clock
        )
        self.next_mint_at = -math.inf
        self.mints = 0
        self.cold_mints = 0
        self.rejections = 0
        self.failures = 0
        self.last_error: RdsIamError | None = None
        self._noted_looks = 0
        self._rejections_told = 0
        self._rejected_since: float | None = None

    # Ahead of need

    def mint_from_hand(self, *, cold: bool = False) -> Token | None:
        """Mint with the keys in hand, without waiting for anything.

        Returns:
            The token, which is in the slot now; `None` when no keys can sign, or when
            they would sign the very string that was just refused.
        """
        now, boot = self._clock.wall(), self._clock.boot()
        keys = self.keys.usable_at(now)
        if keys is None:
            return None
        token = mint(self.endpoint, keys, now=now, lifetime=self._policy.lifetime)
        if self._replacement.was_refused(token.password):
            return None
        key = keys.access_key_id
        life = self.keys.lives.of(token, access_key_id=key, wall=now, boot=boot)
        self._put(token, life, now, cold=cold, took=self._clock.boot() - boot)
        return token

    async def first(self, *, cold: bool = False) -> Token:
        """Return the token in the slot, or mint one, fetching keys if there are none.

        Raises:
            CredentialsError: When no keys could be had.
        """
        while True:
            # Asked again after each wait: of all who waited for the keys, one mints.
            if (token := self.slot.current()) is not None:
                return token
            if self.keys.usable() is None:
                await self.keys.refresh()
            elif (token := self.mint_from_hand(cold=cold)) is not None:
                return token
            else:
                await next_second(self._clock)

    def note_failed_look(self) -> bool:
        """Count the last look for keys as a failed mint, once: all who waited share it.

        Returns:
            Whether it did: it has failed, and had not been counted.
        """
        error, looks = self.keys.last_error, self.keys.failed_looks
        if error is None or looks == self._noted_looks:
            return False
        self._noted_looks = looks
        self.note_failure(error)
        return True

    def note_failure(self, error: RdsIamError, *, retry_in: float | None = None) -> None:
        """Count a mint that did not come about, and say so; what is in the slot stays.

        Args:
            error: Why.
            retry_in: Seconds until the next try; `None` for that of the keys, without which
                there is nothing to sign with.
        """
        self._count(error)
        if retry_in is None:
            retry_in = max(0.0, self.keys.due_at - self._clock.wall())
        self._observe(
            MintFailed(
                endpoint=self.endpoint,
                error=error,
                failures=self.failures,
                retry_in=retry_in,
                usable_for=self.slot.usable_for(),
            )
        )

    # On the connect path, when it is not healthy

    async def obtain(self) -> Token:
        """Return a usable token, waiting up to `wait` seconds for one to be minted.

        Raises:
            MintError: When there was none in time, or at all; `CredentialsError` when AWS
                gave no keys.
        """
        if (token := self.slot.current()) is not None:
            return token
        self._on_cold()
        began = self._clock.boot()
        try:
            token = await self._bounded_cold_mint()
        except MintError as error:
            if error is self.keys.last_error:
                self.note_failed_look()
            else:  # its own patience ended: the mint has not failed yet
                self._count(error)
            waited = self._clock.boot() - began
            self._observe(ColdConnect(endpoint=self.endpoint, waited=waited, error=error))
            raise
        waited = self._clock.boot() - began
        self._observe(ColdConnect(endpoint=self.endpoint, waited=waited))
        return token

    async def replace(self, refused: str) -> str | None:
        """Return another password, after the server refused *refused*.

        Everybody who holds the same refused token shares one new one. It is signed with
        credentials resolved afresh, since the old ones may have been revoked.

        Returns:
            What to try once more; `None` when another try is no use now, because forced
            tokens were refused as well or none could be made.
        """
        held = self.slot.held
        began = self._clock.boot()
        age = None
        if held is not None and held.password == refused:
            age = self._clock.wall() - held.life.minted_at
        self.rejections += 1
        another = await self._replacement.of(refused)
        self._rejections_told += 1
        if self._rejected_since is None:
            self._rejected_since = began
        self._observe(TokenRejected(endpoint=self.endpoint, age=age, retried=another is not None))
        return None if another is None else another.password

    def accepted(self, password: str) -> None:
        """Note that a connection succeeded with *password*; from any thread."""
        self._replacement.succeeded(password)
        since = self._rejected_since
        if since is not None:
            self._rejected_since = None
            count, self._rejections_told = self._rejections_told, 0
            after = self._clock.boot() - since
            self._observe(TokensAccepted(endpoint=self.endpoint, rejections=count, after=after))

    # For the refresher

    @property
    def wanted(self) -> bool:
        """Whether a connection waits for a refused token to be replaced."""
        return self._replacement.wanted

    async def aclose(self) -> None:
        """End what is under way in this loop."""
        await self._replacement.aclose()

    def after_fork(self) -> None:
        """Forget the parent's token: the first connect, or the task, is to mint another."""
        self.slot.held = None
        self.next_mint_at = -math.inf
        self._replacement.after_fork()

    # Within

    def _count(self, error: RdsIamError) -> None:
        self.failures += 1
        self.last_error = error
        self.next_mint_at = self._clock.wall()  # at once when keys are there, whoever got them

    def _put(self, token: Token, life: Life, now: float, *, cold: bool, took: float) -> None:
        self.slot.put(token, life)
        self.next_mint_at = successor_due_at(
            life.successor, self._policy, now=now, draw=random.random()
        )
        self.mints += 1
        self.cold_mints += cold
        self.failures = 0
        self.last_error = None
        self._observe(
            TokenMinted(
                endpoint=self.endpoint,
                access_key_id=life.access_key_id,
                minted_at=life.minted_at,
                expires_at=life.expires_at,
                usable_until=life.usable_until,
                cold=cold,
                took=took,
            )
        )

    async def _bounded_cold_mint(self) -> Token:
        wait = self._policy.wait
        with anyio.move_on_after(IMPORT_WAIT):
            await self.keys.prepared()
        with anyio.move_on_after(wait) as scope:
            if self._replacement.under_way:
                return await self._replacement.join()
            if self._clock.wall() >= self.keys.due_at:
                self.keys.begin()  # waited for only if the keys in hand cannot sign
            return await self.first(cold=True)
        assert scope.cancelled_caught
        kind = MintError if self.keys.usable() is not None else CredentialsError
        raise kind(
            f"no token within {wait:g} s for {self.endpoint}",
            hint="check that the credential endpoint (STS, IMDS, the container agent) answers",
            reason="timeout",
        )
