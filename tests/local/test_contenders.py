"""The benchmarks' contenders: how they are told to connect, and what they answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture
def scenarios() -> Iterator[Any]:
    """`benchmarks/_scenarios.py`: programs, not a package."""
    sys.path.insert(0, BENCHMARKS)
    try:
        import _scenarios

        yield _scenarios
    finally:
        sys.path.remove(BENCHMARKS)


@pytest.mark.timeout(120)
def test_two_contenders_connect_in_turn(scenarios: Any) -> None:
    """Each opens the connections that it was told to, at its instants, and says what they took."""
    from _contender import contenders
    from _other_process import Elsewhere

    everybody = contenders()
    with Elsewhere(host=scenarios.HOST) as elsewhere:
        elsewhere.create_user(*scenarios.PASSWORD_USER)
        one, control = scenarios.run(
            scenarios.SCENARIOS["steady"],
            everybody["static"],
            everybody["scram"],
            elsewhere,
            length=0.05,
        )
    assert len(one.outcomes) == len(control.outcomes) == 10
    for ours, theirs in zip(one.outcomes, control.outcomes, strict=True):
        assert (ours.error, theirs.error) == (None, None)
        assert abs(abs(theirs.due - ours.due) - scenarios.EVERY) < 1e-6
    assert 0 < one.cpu < sum(outcome.took for outcome in one.outcomes)


@pytest.mark.timeout(120)
def test_a_look_for_keys_is_told_by_its_steps(scenarios: Any) -> None:
    """The SDK still has the functions by which they are told, and they are what takes time."""
    from _look_profile import READS_AUTHORITIES, REST, STEPS, look_profile
    from _other_process import Elsewhere

    with Elsewhere(host=scenarios.HOST) as elsewhere:
        elsewhere.set(lifetime=scenarios.HOURS)
        steps = look_profile(scenarios.environment(elsewhere, "web-identity", 1.0))
    assert set(steps) == {*STEPS.values(), REST}
    assert min(steps.values()) > 0
    assert steps[STEPS[READS_AUTHORITIES]] > 1
