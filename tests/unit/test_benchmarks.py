"""What the benchmarks make of their measurements."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import floats, lists

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """The modules of `benchmarks` that only calculate: they are programs, not a package."""
    sys.path.insert(0, BENCHMARKS)
    try:
        import _contender
        import _import_profile
        import _percentiles
        import _stall_tables
        import _stalls
        import _witness

        yield SimpleNamespace(
            contender=_contender,
            import_profile=_import_profile,
            percentiles=_percentiles,
            stall_tables=_stall_tables,
            stalls=_stalls,
            witness=_witness,
        )
    finally:
        sys.path.remove(BENCHMARKS)


def poured(bench: Any, *outcomes: tuple[float, float, str | None], late: Any = ()) -> Any:
    """Return an order's outcomes, each as (due, took, error)."""
    made = [bench.contender.Outcome(due=due, took=took, error=e) for due, took, e in outcomes]
    return bench.contender.Poured(made, 0.375, list(late))


@given(values=lists(floats(0, 1e6), min_size=1, max_size=300), share=floats(1, 100))
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    bench: Any, values: list[float], share: float
) -> None:
    """Nearest rank: at least *share* percent are no greater, and fewer are smaller."""
    found = bench.percentiles.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share / 100 * len(values) - 1e-6
    assert sum(value < found for value in values) <= share / 100 * len(values)


def test_failures_are_counted_and_do_not_pass_for_quick_connections(bench: Any) -> None:
    """A connection that fails at once is no fast one: percentiles are of the others."""
    one = poured(bench, (0, 0.010, None), (1, 0.001, "refused"), (2, 0.001, "refused"))
    figures = bench.percentiles.figures(one)
    assert (figures.connects, figures.failed) == (3, 2)
    assert figures.ms == dict.fromkeys(("p50", "p95", "p99", "max"), 10.0)
    assert figures.cpu_ms == 125.0


def test_who_never_connects_has_no_percentile_and_no_ratio(bench: Any) -> None:
    """Nothing is made up for a contender all of whose connections failed."""
    one = poured(bench, (0, 0.001, "refused"))
    control = poured(bench, (0, 0.010, None))
    result = bench.percentiles.compared(one, control)
    assert math.isnan(result.one.ms["p50"])
    summary = bench.percentiles.summary([result])
    assert (summary["ms"]["p50"], summary["ratio"]["p50"], summary["failed"]) == (None, None, 1)
    assert summary["errors"] == {"refused": 1}


def test_ratios_are_taken_within_a_round_and_the_median_over_rounds(bench: Any) -> None:
    """A round in which the machine was slow counts as much as one in which it was not."""
    rounds = [
        bench.percentiles.compared(poured(bench, (0, one, None)), poured(bench, (0, control, None)))
        for one, control in ((0.010, 0.010), (0.900, 0.300), (0.010, 0.005))
    ]
    assert bench.percentiles.summary(rounds)["ratio"]["p50"] == 2.0


def test_what_came_before_an_event_counts_for_nothing(bench: Any) -> None:
    """Neither its connections nor the CPU that they took."""
    all_of_it = poured(bench, (0, 0.010, None), (1, 0.020, None), (2, 0.030, None))
    rest = all_of_it.since(1)
    assert [one.due for one in rest.outcomes] == [1, 2]
    assert rest.cpu == all_of_it.cpu * 2 / 3


def test_calls_in_quick_succession_are_one_renewal(bench: Any) -> None:
    """IMDS is asked three times for one set of keys."""
    windows = bench.stalls.renewals([10.0, 10.01, 10.02, 11.0])
    assert [(round(a, 3), round(b, 3)) for a, b in windows] == [(9.9, 10.17), (10.9, 11.15)]


def test_a_tick_that_came_after_the_renewal_but_was_due_within_it_counts(bench: Any) -> None:
    """A loop that stands still for long says so only when it moves again."""
    late = [(9.0, 0.5), (10.05, 0.002), (13.0, 2.9)]
    assert bench.stalls.worst_of_each([(9.9, 10.15)], poured(bench, late=late)) == [2900.0]
    assert bench.stalls.worst_of_each([(11.0, 11.1)], poured(bench, late=late[:2])) == [0.0]


def test_a_contender_that_fails_is_told_with_its_reason(bench: Any) -> None:
    """Nobody is left out of the table, and who fails has no figure in it."""
    found = {
        "contenders": {"ours": "rds_iam_async", "other": "another one"},
        "beside": {
            "sso": {"ours": [1.0, 1.5], "other": "UnauthorizedSSOTokenError: expired"},
            "imds": {"ours": [1.0, 1.5], "other": [70.0, 80.0]},
        },
    }
    assert bench.stall_tables.beside_table(found) == [
        "| | sso | imds |",
        "|---|---|---|",
        "| rds_iam_async | 1.0 / 1.5 | 1.0 / 1.5 |",
        "| another one | fails | 70.0 / 80.0 |",
        "",
        "another one fails with sso: `UnauthorizedSSOTokenError: expired`.",
    ]


def test_what_waits_for_the_machine_is_not_put_down_to_a_look(bench: Any) -> None:
    """A look that rests, or reads certificates, holds no lock: the loop was late all the same."""
    witness = bench.witness

    def renewed() -> Any:
        return witness.place(sys._getframe())

    def now() -> Any:
        return witness.place(sys._getframe())

    assert renewed() == ("makes a session", "test_benchmarks.renewed")
    assert now() == (witness.MACHINE, "test_benchmarks.now")
    assert (lambda: witness.place(sys._getframe()))()[0] == witness.ELSE


IMPORTTIME = """\
import time: self [us] | cumulative | imported package
import time:       900 |        900 |   json.decoder
import time:       100 |       1000 | json
import time:       250 |        250 |   yarl._url
import time:      1500 |       2750 | yarl
a line of the program's own
import time:        40 |         40 | site
"""


def test_an_import_profile_says_whose_modules_took_how_long(bench: Any) -> None:
    """Each module's own time, once; the standard library is one package."""
    profile = bench.import_profile
    assert profile.profile_of(IMPORTTIME, but=["site"]) == {
        "the standard library": (2, 1.0),
        "yarl": (2, 1.75),
    }
    assert profile.modules_of(IMPORTTIME) == {"json", "json.decoder", "yarl", "yarl._url", "site"}


def test_of_several_import_profiles_the_median_counts_the_greatest_first(bench: Any) -> None:
    """One slow run is no package's fault; what a run did not import took nothing."""
    runs = [{"a": (3, 1.0), "b": (1, 5.0)}, {"a": (3, 90.0), "b": (1, 6.0)}, {"a": (3, 2.0)}]
    found = bench.import_profile.median_profile(runs)
    assert list(found.items()) == [("b", (1, 5.0)), ("a", (3, 2.0))]
