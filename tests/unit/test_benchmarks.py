"""What the benchmarks make of their measurements."""

from __future__ import annotations

import argparse
import math
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """The modules of `benchmarks` that only calculate: they are programs, not a package."""
    sys.path.insert(0, BENCHMARKS)
    try:
        import _contender
        import _import_profile
        import _interval
        import _latency_page
        import _line
        import _look_profile
        import _pairing
        import _percentiles
        import _results
        import _scenarios
        import _stall_tables
        import _stalls
        import _summary
        import _targets
        import _timeline
        import _witness
        import connect_latency
        import plots

        yield SimpleNamespace(
            connect_latency=connect_latency,
            contender=_contender,
            import_profile=_import_profile,
            interval=_interval,
            line=_line,
            percentiles=_percentiles,
            plots=plots,
            results=_results,
            look_profile=_look_profile,
            page=_latency_page,
            scenarios=_scenarios.SCENARIOS,
            stall_tables=_stall_tables,
            stalls=_stalls,
            summary=_summary.summary,
            targets=_targets,
            timeline=_timeline,
            pairing=_pairing,
            witness=_witness,
        )
    finally:
        sys.path.remove(BENCHMARKS)


Took = tuple[float, float, str | None]


def poured(bench: Any, *outcomes: Took, late: Any = (), events: Any = ()) -> Any:
    """Return an order's outcomes, each as (due, took, error)."""
    made = [bench.contender.Outcome(due=due, took=took, error=e) for due, took, e in outcomes]
    return bench.contender.Poured(made, 0.375, list(late), list(events))


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
    summary = bench.summary([result])
    assert (summary["ms"]["p50"], summary["ratio"]["p50"], summary["failed"]) == (None, None, 1)
    assert summary["errors"] == {"refused": 1}


def rounds_of(bench: Any, *rounds: list[tuple[float, float]]) -> list[Any]:
    """Return rounds, each of pairs of what the contender's and the control's connection took."""
    return [
        bench.percentiles.compared(
            poured(bench, *((n, one, None) for n, (one, _) in enumerate(pairs))),
            poured(bench, *((n, control, None) for n, (_, control) in enumerate(pairs))),
        )
        for pairs in rounds
    ]


def test_a_round_in_which_the_machine_was_slow_falls_on_both(bench: Any) -> None:
    """Percentiles are over all rounds' connections, and so are the ratios."""
    quick, slow = [(0.011, 0.010)] * 3, [(0.110, 0.100)] * 2
    found = bench.summary(rounds_of(bench, quick, slow))
    assert (found["ratio"]["p50"], found["ratio"]["p99"]) == (1.1, 1.1)
    assert (found["ms"]["p50"], found["control_ms"]["p99"]) == (11.0, 100.0)


def test_the_interval_is_where_the_ratio_is_certain_and_wide_where_chance_has_a_say(
    bench: Any,
) -> None:
    """Ever the same pair gives a point; rounds that differ give all that lies between them."""
    found = bench.summary(rounds_of(bench, [(0.012, 0.010)] * 20))
    assert found["within"] == {"p50": [1.2, 1.2], "p99": [1.2, 1.2]}
    apart = rounds_of(bench, [(0.010, 0.010)] * 20, [(0.020, 0.010)] * 20)
    assert bench.summary(apart)["within"]["p50"] == [1.0, 2.0]


def test_what_comes_in_one_turn_is_drawn_together(bench: Any) -> None:
    """A burst of fifty connections is one observation, not fifty."""
    one = poured(bench, *((n, 0.010 + 0.010 * (n // 2), None) for n in range(4)))
    control = poured(bench, *((n, 0.010, None) for n in range(4)))
    pairs = bench.percentiles.compared(one, control, turn=2).pairs
    assert pairs == [([10.0, 10.0], [10.0, 10.0]), ([20.0, 20.0], [10.0, 10.0])]


@pytest.mark.parametrize(
    ("interval", "failed", "said"),
    [
        ((0.99, 1.02), 0, "met"),
        ((1.02, 1.03), 0, "not told apart from the noise"),
        ((0.99, 1.03), 0, "not told apart from the noise"),
        ((1.03, 1.05), 0, "missed"),
        ((0.99, 1.02), 1, "missed"),
        (None, 0, "missed"),
    ],
)
def test_a_target_is_met_only_where_the_measurement_can_tell(
    bench: Any, interval: Any, failed: int, said: str
) -> None:
    """All of the interval is within it, and no connection failed."""
    assert bench.interval.verdict(interval, 1.02, failed=failed) == said


def test_a_verdict_is_of_what_is_shown(bench: Any) -> None:
    """An interval's ends have three digits, also where they are judged."""
    within = bench.summary(rounds_of(bench, [(0.0102004, 0.010)] * 20))["within"]["p50"]
    assert within == [1.02, 1.02]
    assert bench.interval.verdict(within, 1.02, failed=0) == "met"


def figures_of(bench: Any, *, control_error: str | None) -> dict[str, Any]:
    """Return a summary of two pairs, the second of which failed for the static password, too."""
    one = poured(bench, (0, 0.010, None), (1, 0.001, "refused"))
    control = poured(bench, (0, 0.010, None), (1, 0.010, control_error))
    found: dict[str, Any] = bench.summary([bench.percentiles.compared(one, control)])
    return found


def page_of(bench: Any, got: dict[str, Any]) -> list[str]:
    """Return the tables of a run that found *got* for ours, and nothing else."""
    lines: list[str] = bench.page.latency_tables(
        {
            "scenarios": {"steady": "steady"},
            "contenders": {"ours": "rds_iam_async"},
            "found": {"steady": {"ours": got}},
            "broken": {},
            "timeline": {},
            "look": {"parses": 15.0, "all else": 5.0},
            "machine": {"python": "3.11", "cores": 2, "system": "Linux"},
        }
    )
    return lines


def test_a_failure_misses_both_targets_and_those_of_the_static_password_are_shown(
    bench: Any,
) -> None:
    """A reader sees that the machine failed, and that this excuses nobody."""
    row = page_of(bench, figures_of(bench, control_error="refused"))[2]
    assert row.count("missed") == 2
    assert "1 of 2 (static: 1)" in row
    row = page_of(bench, figures_of(bench, control_error=None))[2]
    assert "1 of 2 |" in row


def test_the_page_shows_what_a_look_spends_its_cpu_on(bench: Any) -> None:
    """Its steps, with shares of them all."""
    lines = page_of(bench, figures_of(bench, control_error=None))
    assert "| parses | 15.0 ms | 75% |" in lines
    assert "| together | 20.0 ms | |" in lines


def test_what_the_profiler_adds_is_taken_from_the_steps_that_it_slows(bench: Any) -> None:
    """One call of C is as quick under it; all other steps are scaled to what a look takes."""
    profile = bench.look_profile
    seen = dict.fromkeys(profile.STEPS, 4.0)
    seen |= {profile.READS_AUTHORITIES: 17.0, profile.CALLS_STS: 21.0}
    steps = profile.steps_of(seen, profiled=41.0, plain=29.0)
    assert list(steps.values()) == [17.0, 4.0, 2.0, 2.0, 2.0, 2.0]
    assert next(iter(steps)) == profile.STEPS[profile.READS_AUTHORITIES]
    assert list(steps)[1] == profile.REST
    del seen["renewed"]
    with pytest.raises(KeyError, match="renewed"):
        profile.steps_of(seen, profiled=41.0, plain=29.0)


def test_only_a_full_run_is_published(bench: Any) -> None:
    """Neither Ctrl-C nor a choice of what is measured overwrites the results of all of it."""
    latency = bench.connect_latency
    whole = {"quick": False, "rounds": None, "scenario": None, "contender": None}
    found = latency.Found(rounds={}, interrupted=False)
    assert latency.is_in_full(found, Namespace(**whole))
    assert not latency.is_in_full(latency.Found(rounds={}), Namespace(**whole))
    for less in ({"quick": True}, {"rounds": 9}, {"scenario": ["slow"]}, {"contender": ["ours"]}):
        assert not latency.is_in_full(found, Namespace(**whole | less))


def test_ours_and_its_static_twin_are_measured_in_five_rounds_at_least(bench: Any) -> None:
    """Of fewer rounds no interval says how they would differ; the others take part once."""
    for name, scenario in bench.scenarios.items():
        turns = {
            who: sum(
                bench.connect_latency.takes_part(one, name, turn) for turn in range(scenario.rounds)
            )
            for who, one in bench.contender.contenders().items()
        }
        assert turns["ours"] == scenario.rounds >= 5
        assert turns["static"] == (0 if scenario.concerns_iam else 5)
        assert all(n <= 1 for who, n in turns.items() if who not in ("ours", "static"))


@given(count=integers(0, 100))
def test_neither_of_two_has_the_better_turns(bench: Any, count: int) -> None:
    """Of each two pairs either begins one, and the instants of both are evenly spread."""
    one, control = bench.pairing.in_turn(begin=10.0, every=0.5, count=count)
    assert sorted(one + control) == [10.0 + 0.5 * n for n in range(2 * count)]
    begins = [ours < theirs for ours, theirs in zip(one, control, strict=True)]
    assert all(a != b for a, b in zip(begins[::2], begins[1::2], strict=False))


def test_what_is_not_wanted_counts_for_nothing(bench: Any) -> None:
    """Neither its connections nor the CPU that they took."""
    all_of_it = poured(bench, (0, 0.010, None), (1, 0.020, None), (2, 0.030, None))
    rest = all_of_it.kept([False, True, True])
    assert [one.due for one in rest.outcomes] == [1, 2]
    assert rest.cpu == all_of_it.cpu * 2 / 3


def test_the_timeline_is_of_the_connection_that_was_refused_first(bench: Any) -> None:
    """Each step is the first of its kind after the one before; what others did is left out."""
    now, wall = 5000.0, 1_800_000_000.0
    told = [("CredentialsResolved", now - 5), ("CredentialsResolved", now + 0.03)]
    told += [("TokenMinted", now + 0.031)]
    one = poured(bench, (now - 1, 0.010, None), (now, 0.050, None), events=told)
    logins = [(wall - 0.9, "accepted"), (wall + 0.01, "denied"), (wall + 0.045, "accepted")]
    calls = [wall - 5, wall + 0.02]
    clocks = {"to_monotonic": now - wall}
    steps = bench.timeline.of_the_first_refused(one, logins, calls, **clocks)
    assert [round(step) for step in steps] == [10, 20, 30, 31, 45, 50]
    assert bench.timeline.of_the_first_refused(one, logins, calls[:1], **clocks) is None
    assert bench.timeline.typical([steps])["token minted"] == round(steps[3], 2)


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
        "| rds_iam_async | 1.0 / 1.5 of 2 | 1.0 / 1.5 of 2 |",
        "| another one | fails | 70.0 / 80.0 of 2 |",
        "",
        "another one fails with sso: `UnauthorizedSSOTokenError: expired`.",
    ]


def test_fewer_than_a_hundred_values_have_no_99th_percentile(bench: Any) -> None:
    """The worst of a few is called what it is, with how few they are."""
    values = [float(n) for n in range(1, 101)]
    assert bench.stall_tables.spread_of(values) == "50.0 / 99.0"
    assert bench.stall_tables.spread_of(values[1:]) == "51.0 / 100.0 of 99"


@given(each=floats(1e-9, 1e6))
def test_what_costs_each_the_same_is_a_straight_line(bench: Any, each: float) -> None:
    """Its slope is what one costs, and no size is off; a parabola is."""
    sizes = [100.0, 1_000.0, 10_000.0]
    found = bench.line.line(sizes, [each * size for size in sizes])
    assert math.isclose(found["slope"], each)
    assert found["deviation"] < 1e-9
    assert bench.line.line(sizes, [each * size**2 for size in sizes])["deviation"] > 0.9


def test_sizes_at_which_all_pay_for_what_they_share_are_left_out_of_the_line(bench: Any) -> None:
    """Memory is told of each endpoint, all else of all of them; both give a price of one."""
    sizes = [
        dict.fromkeys(("cycle", "signing", "attach", "status"), 2.0 * size)
        | {"size": size, "bytes_per_endpoint": 9000 if size < 100 else 2000}
        for size in (1, 100, 1_000)
    ]
    found = bench.line.lines(sizes)
    assert {name: one["slope"] for name, one in found.items()} == {
        **dict.fromkeys(("cycle", "signing", "attach", "status"), 2.0),
        "memory": 2000.0,
    }


@pytest.mark.parametrize(("above", "times", "said"), [(1e-6, 100, "met"), (2e-6, 99, "missed")])
def test_a_target_is_met_up_to_its_very_figure(
    bench: Any, above: float, times: float, said: str
) -> None:
    """ "At most" and "at least" include the figure that they name."""
    rows = bench.targets.of_hot_path({"above": above, "times_cheaper": times})
    assert [row[-1] for row in rows] == [said, said]


def test_only_fleets_that_are_spread_are_held_to_the_target(bench: Any) -> None:
    """`spread=0` is there to show what happens without."""
    fleet = {"rollout": 1.0, "outage": 1800, "calls": {"worst_ratio": 3.2}}
    rows = bench.targets.of_fleet({"scenarios": [fleet | {"spread": s} for s in (60.0, 0.0)]})
    assert rows == [
        ("started within 1 s, STS down for 30 min", "at most × 3", "× 3.2", "missed"),
    ]


@pytest.mark.parametrize(
    ("arguments", "partial"),
    [([], False), (["--rounds", "5"], False), (["--rounds", "1"], True), (["--quick"], True)],
)
def test_any_option_that_changes_what_is_measured_makes_a_run_a_partial_one(
    bench: Any, arguments: list[str], partial: bool
) -> None:
    """A short run must not replace the results that the documentation shows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    assert bench.results.is_partial(parser, parser.parse_args(arguments)) is partial


def test_the_machine_is_told_with_what_figures_depend_on(bench: Any) -> None:
    """Versions and the processor; a result of old is told with what it has."""
    old = {"python": "3.11.7", "system": "Linux x86_64", "cores": 2}
    assert bench.results.machine_line(old) == "Python 3.11.7, 2 cores, Linux x86_64."
    new = old | {"cpu": "Z80", "versions": {"asyncpg": "0.32.0"}}
    assert bench.results.machine_line(new) == (
        "Python 3.11.7, asyncpg 0.32.0, 2 cores Z80, Linux x86_64."
    )


def test_what_has_no_result_is_left_out_with_a_sentence(bench: Any) -> None:
    """Neither a benchmark that was not run nor the form of an older one ends the rest."""

    def unmeasured() -> None:
        raise FileNotFoundError(2, "No such file", "results/herd.json")

    def of_old() -> None:
        {}["minting"]

    told = [bench.plots.left_out(draw) for draw in (unmeasured, of_old, lambda: None)]
    assert told == [
        "left out: the plot unmeasured, for there is no results/herd.json",
        "left out: the plot of_old, for its result is of a form that has no 'minting'",
        "",
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
