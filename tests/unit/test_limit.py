"""The optional limit on connections a second: it delays, never fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from rds_iam_async import ConfigurationError
from rds_iam_async._limit import ConnectLimit

from .virtual_time import LoopWithoutWaiting


def instants(limit: ConnectLimit, connects: int) -> list[float]:
    """Return when each got through, by the loop's time: the limiter has no other clock."""

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()

        async def connect() -> float:
            await limit.wait()
            return loop.time()

        return await asyncio.gather(*(connect() for _ in range(connects)))

    with asyncio.Runner(loop_factory=LoopWithoutWaiting) as runner:
        return runner.run(main())


@pytest.mark.parametrize("rate", [0.5, 1, 10, 150])
def test_no_second_sees_more_than_the_rate_by_over_a_tenth(rate: float) -> None:
    """Everybody gets through, in the end."""
    took = instants(ConnectLimit(rate), 400)
    assert len(took) == 400
    for began in took:
        in_this_second = sum(began <= at < began + 1 for at in took)
        assert in_this_second <= rate + max(1, rate / 10) + 1


def test_a_small_pool_fills_at_once() -> None:
    """A tenth of a second's worth does not wait."""
    assert max(instants(ConnectLimit(150), 15)) < 0.001


def test_each_loop_has_a_limiter_of_its_own() -> None:
    """L20: waiters are futures of one loop."""
    limit = ConnectLimit(10)
    assert max(instants(limit, 1) + instants(limit, 1)) < 0.001


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan"), True])
def test_a_rate_that_cannot_be_meant_is_refused(rate: Any) -> None:
    """The message names the argument."""
    with pytest.raises(ConfigurationError, match="max_connects_per_second"):
        ConnectLimit(rate)


def test_without_aiolimiter_the_error_says_what_to_install() -> None:
    """It is an extra."""
    code = (
        "import sys; sys.modules['aiolimiter'] = None\n"
        "from rds_iam_async import TokenRefresher\n"
        "try: TokenRefresher(max_connects_per_second=100)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("ConfigurationError")
    assert "rds-iam-async[limit]" in run.stdout
