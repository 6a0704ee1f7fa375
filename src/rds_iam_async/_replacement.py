"""After the server refused a token: one new one for all who held it, and not too often."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import anyio

from ._clock import Clock
from ._credential_cache import CredentialCache
from ._errors import MintError
from ._flight import Flight
from ._schedule import FORCED_APART, RefreshPolicy, forced_delay
from ._slot import Held, Slot
from ._token import Endpoint, Token

LOOK_SHARE = 0.4
"""Of `wait`, for looking at credentials afresh while those in hand can sign: with the
second between two forced mints and the one until the next date it stays below the default."""


class Replacement:
    """Replaces refused tokens of one endpoint, signed with credentials resolved afresh.

    A refusal need not be the token's fault: SQLSTATE 28000 also means a missing grant. So
    replacements are at least a second apart, and back off to 30 s until a connection
    succeeds.
    """

    __slots__ = (
        "_clock",
        "_flight",
        "_keys",
        "_last_at",
        "_made",
        "_making",
        "_mint",
        "_policy",
        "_refusals",
        "_refused",
        "_slot",
        "_withheld",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        slot: Slot,
        keys: CredentialCache,
        mint: Callable[[], Token | None],
        *,
        policy: RefreshPolicy,
        clock: Clock,
    ) -> None:
        """Take what is replaced and how.

        Args:
            endpoint: Whose tokens.
            slot: Where the refused one may still be.
            keys: Whose keys may have been revoked.
            mint: Puts a new token into the slot; `None` when no keys can sign, or when
                they would sign what was refused.
            policy: `wait`.
            clock: The time.
        """
        self._slot = slot
        self._keys = keys
        self._mint = mint
        self._policy = policy
        self._clock = clock
        self._flight: Flight[Token] = Flight(
            self._replace,
            name="rds_iam_async: replacing a refused token for ",
            about=endpoint,
        )
        self._refused: str | None = None
        self._withheld: Held | None = None
        self._made: Token | None = None
        self._refusals = 0
        self._making = 0
        self._last_at = -math.inf

    @property
    def under_way(self) -> bool:
        """Whether a replacement is being made, in whichever loop."""
        return self._flight.running or self._making > 0

    @property
    def wanted(self) -> bool:
        """Whether a connection waits for one, in whichever loop."""
        return self._flight.wanted

    def was_refused(self, password: str) -> bool:
        """Tell whether this very string was refused, or withheld; it must not be sent again."""
        withheld = self._withheld
        return password == self._refused or (withheld is not None and password == withheld.password)

    async def join(self) -> Token:
        """Return the replacement that is being made.

        Raises:
            MintError: When none could be made.
        """
        return await self._flight.join()

    async def of(self, refused: str) -> Token | None:
        """Return another token than *refused*.

        Returns:
            The one that replaced it already, or one made now. When the last ones were
            refused as well and it is too early for another: what is in the slot, if that
            is another; `None` when it is not, or none could be made.
        """
        current = self._slot.current()
        other = current if current is not None and current.password != refused else None
        if not self.under_way:
            # What the refresher put there since may be as dead as what was refused: the
            # revocation may be older than both. What was made because of it is not.
            if other is not None and (other == self._made or self.was_refused(refused)):
                return other
            if (before_jump := self._slot.put_back(refused)) is not None:
                self._refused = refused
                return before_jump
            if self._refusals > 0 and self._pause() > 0:
                return other or self._by_another_key(refused)
            # From now on nobody else is to send what was refused; they join us instead.
            self._withheld, self._slot.held = self._slot.held, None
        self._refused = refused
        with anyio.move_on_after(self._policy.wait + FORCED_APART):
            try:
                return await self._flight.join()
            except MintError:
                return None
        return None

    def succeeded(self, password: str) -> None:
        """Note that a connection succeeded, so that the next refusal is the first again.

        From any thread.
        """
        self._slot.accepted(password)
        # Not while a replacement is made: that connection may still have had the old token.
        if self._refusals and not self._making:
            self._refusals = 0
            self._keys.trust_again()

    async def aclose(self) -> None:
        """End what is under way in this loop."""
        await self._flight.aclose()

    def after_fork(self) -> None:
        """Forget what the parent was about to do."""
        self._making = 0

    def _by_another_key(self, refused: str) -> Token | None:
        """Mint at once if keys have come, late, that did not sign what was refused."""
        held, keys = self._slot.held, self._keys.usable()
        if held is None or held.password != refused or keys is None:
            return None
        if keys.access_key_id == held.life.access_key_id:
            return None
        self._made = self._mint()
        return self._made

    def _pause(self) -> float:
        return self._last_at + forced_delay(max(1, self._refusals)) - self._clock.boot()

    async def _replace(self) -> Token:
        self._making += 1
        try:
            return await self._replaced()
        finally:
            self._making -= 1

    async def _replaced(self) -> Token:
        if (pause := self._pause()) > 0:
            await self._clock.sleep(pause)
        if (made := self._slot.current()) is not None and made == self._made:
            return made  # in another loop meanwhile
        self._last_at = self._clock.boot()
        self._refusals += 1
        self._keys.suspect()
        await self._look_afresh()
        while (token := self._mint()) is None:
            await next_second(self._clock)
            if self._keys.usable() is None:
                await self._keys.refresh()
        self._made = token
        return token

    async def _look_afresh(self) -> None:
        # While the keys in hand can sign, the look may take only a share of what the
        # connections wait for; it goes on behind. They may be fine: throttling looks the same.
        usable = self._keys.usable() is not None
        with anyio.move_on_after(LOOK_SHARE * self._policy.wait if usable else None):
            try:
                if self._keys.looking:  # it may have been answered before the revocation
                    with contextlib.suppress(MintError):
                        await self._keys.refresh()
                await self._keys.refresh()
            except MintError:
                if self._keys.usable() is None:
                    raise


async def next_second(clock: Clock) -> None:
    """Wait for the next whole second: within one, the same key signs the same string."""
    now = clock.wall()
    await clock.sleep(math.floor(now) + 1 - now)
