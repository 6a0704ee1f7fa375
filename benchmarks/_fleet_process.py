"""One process of the fleet: when it calls STS and when it mints, by the project's own schedule.

What decides is imported: `credentials_due_at`, `credentials_retry_delay`, `can_sign`, `grouped` and
`successor_due_at`. What is left is the order in which the refresher asks them, which
`tests/unit/test_fleet.py` holds against the refresher itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from rds_iam_async import Credentials, Endpoint, RefreshPolicy, Token
from rds_iam_async._agenda import grouped
from rds_iam_async._schedule import (
    can_sign,
    credentials_due_at,
    credentials_retry_delay,
    successor_due_at,
    successor_window,
)

ENDPOINT = Endpoint(host="db.example", port=5432, user="app", region="eu-west-1")


@dataclass(kw_only=True)
class Process:
    """A process with one endpoint, whose keys come from STS.

    Attributes:
        policy: The refresher's.
        keys_live: Seconds; STS gives each process keys of its own.
        draw: Gives the next random number in [0, 1).
        down: When STS answers nobody: its first second, and the first after it.
        calls: The instants of its calls of STS, answered or not.
        mints: The instants at which it minted.
    """

    policy: RefreshPolicy
    keys_live: float
    draw: Callable[[], float]
    down: tuple[float, float] = (math.inf, math.inf)
    calls: list[float] = field(default_factory=list)
    mints: list[float] = field(default_factory=list)

    def live(self, start: float, until: float) -> None:
        """Go on from the first call until an instant; STS answers, or refuses, at once."""
        keys: Credentials | None = None
        failures = 0
        look_at, mint_at = start, math.inf
        while min(look_at, mint_at) < until:
            if look_at <= mint_at:
                now = look_at
                self.calls.append(now)
                if self.down[0] <= now < self.down[1]:
                    failures += 1
                    look_at = now + self._pause(failures, keys, now)
                    continue
                starved = mint_at == math.inf
                failures = 0
                keys = _keys(now + self.keys_live)
                look_at = credentials_due_at(keys, now, self.policy, draw=self.draw())
                if starved:
                    mint_at = self._mint(keys, now)
            else:
                assert keys is not None
                mint_at = self._mint(keys, mint_at) if can_sign(keys, mint_at) else math.inf

    def _pause(self, failures: int, keys: Credentials | None, now: float) -> float:
        good_for = 0.0
        if keys is not None and keys.expires_at is not None and can_sign(keys, now):
            good_for = keys.expires_at - now
        return credentials_retry_delay(failures, good_for, self.policy, draw=self.draw())

    def _mint(self, keys: Credentials, now: float) -> float:
        """Note a mint; return when its successor is due."""
        assert keys.expires_at is not None
        self.mints.append(now)
        minted_at = float(math.floor(now))
        expires_at = min(minted_at + self.policy.lifetime, keys.expires_at)
        token = Token(endpoint=ENDPOINT, password="-", minted_at=minted_at, expires_at=expires_at)
        window = successor_window(token, self.policy)
        return grouped(successor_due_at(window, self.policy, now=now, draw=self.draw()))


def _keys(end: float) -> Credentials:
    return Credentials(
        access_key_id="ASIA", secret_access_key="-", session_token="-", expires_at=end
    )
