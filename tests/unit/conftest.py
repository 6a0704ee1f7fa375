"""Stand-ins for time, AWS and what watches."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from rds_iam_async import Credentials, CredentialsError, Endpoint
from rds_iam_async.telemetry import Event
from rds_iam_async.testing import FakeClock

# How long an example takes says how busy the machine is, and nothing about us.
settings.register_profile(
    "unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")

ENDPOINT = Endpoint(
    host="mydb.abc.eu-west-1.rds.amazonaws.com", port=5432, user="app", region="eu-west-1"
)


class FakeAws:
    """Hands out numbered keys at once, each good for `lifetime` seconds; or fails, or hangs."""

    provider = "fake"

    def __init__(self, clock: FakeClock, *, lifetime: float | None = 3600.0) -> None:
        self.clock = clock
        self.lifetime = lifetime
        self.error: Exception | None = None
        self.delay = 0.0
        self.calls = 0

    async def snapshot(self) -> Credentials:
        self.calls += 1
        number = self.calls
        await self.clock.sleep(self.delay)
        if self.error is not None:
            raise self.error
        end = None if self.lifetime is None else self.clock.wall() + self.lifetime
        return Credentials(
            access_key_id=f"ASIAFAKE{number}",
            secret_access_key=f"secret-{number}",
            session_token=f"session-{number}",
            expires_at=end,
        )

    def goes_down(self) -> None:
        self.error = CredentialsError("the test said so")

    def comes_back(self) -> None:
        self.error = None


class Seen(list[Event]):
    """An observer that remembers."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def endpoint() -> Endpoint:
    return ENDPOINT


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def aws(clock: FakeClock) -> FakeAws:
    return FakeAws(clock)


@pytest.fixture
def seen() -> Seen:
    return Seen()
