"""What ten thousand endpoints cost, seen in two hundred; the rest is in `benchmarks/size.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rds_iam_async._drivers import driver_named

pytestmark = pytest.mark.anyio

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


async def test_an_endpoint_takes_three_kib_beside_its_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the token's own text, and what SQLAlchemy takes to register a listener."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from size import memory

    assert (await memory(200))["bytes_per_endpoint"] < 3 * 1024


def test_all_engines_of_a_driver_share_what_is_known_of_it() -> None:
    """It is the same for each of ten thousand."""
    one, other = (driver_named("postgresql+asyncpg", is_async=True) for _ in range(2))
    assert one is other
