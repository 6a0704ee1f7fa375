"""The keys in hand: the last good snapshot of a source, and when to look again.

A fetch that fails changes nothing here: keys sign until they expire, also while the
endpoint that renews them is down.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable

import anyio

from ._clock import Clock
from ._credentials import CredentialSource, SessionCredentials
from ._errors import CredentialsError, MintError, RdsIamError
from ._flight import Flight
from ._life import Lives
from ._precedence import EarliestEnds, better
from ._schedule import RefreshPolicy, can_sign, credentials_due_at, credentials_retry_delay
from ._token import Credentials
from .telemetry import CredentialsFailed, CredentialsResolved, Observer


class CredentialCache:
    """Keys of one source, shared by all endpoints that it signs for.

    Attributes:
        on_look_ended: Called in the loop of each look that has ended, however it did and
            whoever began it; by then `looking` is about to be false.
        failures: Looks that failed in a row.
        failed_looks: Looks that failed, ever.
        last_error: Why the last look failed, `None` if it did not.
        lives: Those of the tokens that they sign.
    """

    def __init__(
        self,
        source: CredentialSource,
        *,
        policy: RefreshPolicy,
        clock: Clock,
        observe: Observer,
        number: int = 0,
    ) -> None:
        """Take whom to ask, and how.

        Args:
            source: Who has the keys.
            policy: How often to ask and how long to wait.
            clock: The time.
            observe: Told of each look.
            number: What events call the source, which may have no name of its own.
        """
        self._source = source
        self._number = number
        self._policy = policy
        self._clock = clock
        self._observe = observe
        self._flight = Flight(self._look, name="rds_iam_async: resolving AWS credentials")
        self._preparing = Flight(self._prepare_source, name="rds_iam_async: importing the AWS SDK")
        self.lives = Lives(policy)
        self._held: Credentials | None = None
        self._suspect: str | None = None
        self._ends = EarliestEnds()
        self._due_at = -math.inf
        self._begun_at = 0.0
        self._failed_at = -math.inf
        self.on_look_ended: Callable[[], object] = _nobody
        self.failures = 0
        self.failed_looks = 0
        self.last_error: RdsIamError | None = None

    @property
    def provider(self) -> str | None:
        """What gave the keys in hand, `None` before there are any."""
        if self._held is None:
            return None
        return getattr(self._source, "provider", None) or type(self._source).__name__

    @property
    def held(self) -> Credentials | None:
        """The keys in hand, usable or not."""
        return self._held

    @property
    def due_at(self) -> float:
        """When to look again, in Unix seconds."""
        return self._due_at

    def usable(self) -> Credentials | None:
        """Return the keys in hand if they can sign now."""
        return self.usable_at(self._clock.wall())

    def usable_at(self, now: float) -> Credentials | None:
        """Return the keys in hand if they can sign at *now*, which is now."""
        held = self._held
        return held if held is not None and can_sign(held, now) else None

    def suspect(self) -> None:
        """Note that a token was refused: any other key is better than the one in hand.

        Also when an older one signed that token: both may have been revoked.
        """
        self._suspect = None if self._held is None else self._held.access_key_id

    def trust_again(self) -> None:
        """Note that a connection succeeded: a refusal before it was not the key's fault."""
        self._suspect = None

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for a look that is under way."""
        return self._flight.wanted

    @property
    def looking(self) -> bool:
        """Whether a look is under way in the running loop."""
        return self._flight.running

    def begin(self) -> asyncio.Task[None]:
        """Look again in the background, unless that is under way; return the task."""
        self._prepare()
        return self._flight.begin()

    def look_soon(self) -> None:
        """Make the next look due at once: the instants known are of a clock that jumped."""
        self._due_at = -math.inf

    async def prepared(self) -> None:
        """Wait until the source can be asked: until the SDK is imported, if it is needed."""
        source = self._source
        if isinstance(source, SessionCredentials) and not source.is_prepared:
            await self._preparing.join()

    async def refresh(self) -> None:
        """Look again, or join the look that is under way, and wait for it.

        Raises:
            CredentialsError: When the source gave none; what is in hand stays.
        """
        self._prepare()
        await self._flight.join()

    async def aclose(self) -> None:
        """End a look that is under way in this loop."""
        await self._flight.aclose()
        await self._preparing.aclose()

    async def _prepare_source(self) -> None:
        if isinstance(self._source, SessionCredentials):
            await self._source.prepare()

    def _prepare(self) -> None:
        now = self._clock.boot()
        # A frozen process (Lambda, SIGSTOP, suspend) wakes up with a fetch whose sockets are
        # dead and whose own time limit has stood still: do not make a connection wait for it.
        if self._flight.running and now - self._begun_at > 2 * self._policy.wait:
            self._flight.abandon()
        if not self._flight.running:
            self._begun_at = now

    async def _look(self) -> None:
        try:
            await self._fetch()
        finally:
            self.on_look_ended()

    async def _fetch(self) -> None:
        # Failures that come at once must not become a storm when every connect asks.
        pause = self._failed_at + self._policy.retry_base - self._clock.boot()
        if pause > 0:
            await self._clock.sleep(min(pause, self._policy.retry_base))
        await self.prepared()
        began = self._begun_at = self._clock.boot()
        try:
            fresh = await self._bounded_snapshot()
            self._accept(fresh, took=self._clock.boot() - began)
        except RdsIamError as error:
            self._note_failure(error, took=self._clock.boot() - began)
            raise

    async def _bounded_snapshot(self) -> Credentials:
        wait = self._policy.wait
        with anyio.move_on_after(wait) as scope:
            try:
                fresh = await self._source.snapshot()
                if not isinstance(fresh, Credentials):
                    raise TypeError("snapshot() returned no Credentials")
                return fresh
            except MintError:
                raise
            except RdsIamError as error:  # half a key file, say, of which no key can be made
                raise CredentialsError(
                    error.args[0], hint=error.hint, reason=error.reason
                ) from error
            except Exception as error:
                raise CredentialsError(
                    f"{type(self._source).__name__}.snapshot() failed: {type(error).__name__}"
                ) from error
        assert scope.cancelled_caught
        raise CredentialsError(
            f"AWS credentials did not come within {wait:g} s",
            hint="check that the credential endpoint (STS, IMDS, the container agent) is reachable",
            reason="timeout",
        )

    def _accept(self, fresh: Credentials, *, took: float) -> None:
        now = self._clock.wall()
        fresh = self._ends.corrected(fresh)
        self._held = better(self._held, fresh, suspect=self._suspect)
        if not can_sign(self._held, now):
            raise CredentialsError(
                f"the credentials handed out ({fresh.access_key_id}) have already expired",
                hint="check this machine's clock, and what issues the credentials; of one "
                "temporary key, the earliest end ever reported counts",
                reason="expired",
            )
        self._due_at = credentials_due_at(self._held, now, self._policy, draw=random.random())
        self.failures = 0
        self._failed_at = -math.inf
        self.last_error = None
        self._observe(
            CredentialsResolved(
                access_key_id=fresh.access_key_id,
                provider=self.provider or "",
                expires_at=fresh.expires_at,
                took=took,
                source=self._number,
            )
        )

    def _note_failure(self, error: RdsIamError, *, took: float) -> None:
        self.failures += 1
        self.failed_looks += 1
        self.last_error = error
        self._failed_at = self._clock.boot()
        now = self._clock.wall()
        left: float | None = 0.0
        if (held := self.usable()) is not None:
            left = None if held.expires_at is None else held.expires_at - now
        good_for = 0.0 if left is None or self._suspect is not None else left
        retry_in = credentials_retry_delay(
            self.failures, good_for, self._policy, draw=random.random()
        )
        self._due_at = now + retry_in
        self._observe(
            CredentialsFailed(
                error=error,
                provider=self.provider,
                failures=self.failures,
                retry_in=retry_in,
                usable_for=left,
                took=took,
                source=self._number,
            )
        )


def _nobody() -> None:
    pass
