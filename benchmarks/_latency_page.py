"""Tables and plots of `connect_latency` and `loop_stall`, for the documentation.

Tables are Markdown, which the page includes: no figure is typed by hand. Each of the two
ends with its own, when it was run in full; by itself this writes both anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from _interval import verdict
from _plot import INK, OTHERS, OURS, plot
from _results import HERE, machine_line, read
from _stall_tables import STALL_TARGET, stall_of, stall_tables

TARGETS = {"p50": 1.02, "p99": 1.10}
"""Times the static password's."""

Row = tuple[str, float, float, float, str]
"""Whose, three figures of which the first is drawn large, and a remark."""


def connect_latency() -> None:
    found = read("connect_latency")
    write_table("connect_latency", latency_tables(found))
    scenarios = found["scenarios"]
    with plot("connect_latency", rows=len(scenarios), height=2.2) as drawn:
        axes = [drawn] if len(scenarios) == 1 else drawn
        for ax, (name, title) in zip(axes, scenarios.items(), strict=True):
            of_scenario = found["found"][name]
            rows = [
                (found["contenders"][one], *latency_of(of_scenario[one]))
                for one in found["contenders"]
                if one in of_scenario
            ]
            floor = of_scenario["ours"]["control_ms"]["p50"]
            draw(ax, title, [("static password", floor, *control_of(of_scenario)), *rows], floor)
        axes[-1].set_xlabel("ms for a new connection: median, 99th percentile, the worst")


def loop_stall() -> None:
    found = read("loop_stall")
    write_table("loop_stall", [*stall_tables(found), "", _machine(found)])
    panels = len(found["beside"])
    with plot("loop_stall", rows=panels, height=2.2) as drawn:
        axes = [drawn] if panels == 1 else drawn
        for ax, (provider, by_contender) in zip(axes, found["beside"].items(), strict=True):
            rows = [
                (title, *stall_of(by_contender[one]))
                for one, title in found["contenders"].items()
                if one in by_contender
            ]
            draw(ax, provider, rows, STALL_TARGET)
        axes[-1].set_xlabel("ms for which the loop stands still: median and the worst")


def latency_of(got: dict[str, Any]) -> tuple[float, float, float, str]:
    ms = {name: value or float("nan") for name, value in got["ms"].items()}
    failed = f"{100 * got['failed'] / got['connects']:.0f} % fail" if got["failed"] else ""
    return ms["p50"], ms["p99"], ms["max"], failed


def control_of(of_scenario: dict[str, Any]) -> tuple[float, float, str]:
    ms = of_scenario["ours"]["control_ms"]
    return ms["p99"], ms["max"], ""


def draw(ax: Any, title: str, rows: Sequence[Row], floor: float) -> None:
    """Draw a line for each row, from the median to the worst; and where the floor is."""
    from matplotlib.ticker import LogLocator  # as in `plot`

    for place, (who, p50, p99, worst, remark) in enumerate(rows):
        colour = OURS if who.startswith("rds_iam_async") else INK if "static" in who else OTHERS[0]
        ax.plot([p50, p99], [place, place], color=colour, linewidth=3, solid_capstyle="round")
        ax.plot([p99, worst], [place, place], color=colour, linewidth=1)
        ax.plot(p50, place, "o", color=colour, markersize=6)
        if remark:
            # In the axes' own measure across, so that it stands at the right edge.
            ax.text(
                1.01,
                place,
                remark,
                color=OTHERS[0],
                fontsize=8,
                ha="left",
                va="center",
                transform=ax.get_yaxis_transform(),
            )
    ax.axvline(floor, color=INK, linestyle="--", linewidth=0.8)
    ax.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=8)
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.grid(visible=False, axis="y")
    ax.set_title(title, loc="left", fontsize=10)


def latency_tables(found: dict[str, Any]) -> list[str]:
    """Return a table of ours against the target, and one of everybody for each scenario."""
    head = ["scenario"]
    for name, target in TARGETS.items():
        head += [name, "times static", f"at most {target:.2f}"]
    head += ["CPU", "failed"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, title in found["scenarios"].items():
        of_scenario = found["found"][name]
        lines.append(_target_row(title, of_scenario["ours"]))
        if "static" in of_scenario:
            lines.append(_target_row(f"*{title}: static itself*", of_scenario["static"]))
    for name, title in found["scenarios"].items():
        lines += ["", f"*{title[0].upper()}{title[1:]}*", ""]
        head = ["", "p50", "p95", "p99", "worst", "p50 / static", "p99 / static"]
        head += ["CPU", "CPU / static", "failed"]
        lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        lines += [
            _latency_row(found["contenders"][one], found["found"][name][one])
            for one in found["contenders"]
            if one in found["found"][name]
        ]
    for one, why in found["broken"].items():
        lines += ["", f"{found['contenders'][one]} does not connect: `{why}`."]
    lines += ["", *errors_of(found), "", *timeline_of(found), "", *look_of(found)]
    return [*lines, "", _machine(found)]


def _target_row(title: str, got: dict[str, Any]) -> str:
    cells = [title]
    for name, target in TARGETS.items():
        cells += [f"{_number(got['ms'][name], '.1f')} ms", _with_interval(got, name)]
        cells.append(verdict(got["within"][name], target, failed=got["failed"]))
    cells += [f"× {got['cpu_ratio']:.2f}", _failed(got)]
    return f"| {' | '.join(cells)} |"


def _with_interval(got: dict[str, Any], name: str) -> str:
    if got["within"][name] is None:
        return "–"
    low, high = got["within"][name]
    return f"{got['ratio'][name]:.3f} ({low:.3f} to {high:.3f})"


def _failed(got: dict[str, Any]) -> str:
    """Return how many connections failed, and how many of the static password beside them."""
    failed = f"{got['failed']} of {got['connects']}"
    return f"{failed} (static: {got['control_failed']})" if got["control_failed"] else failed


def timeline_of(found: dict[str, Any]) -> list[str]:
    """Return where the time goes of the first connection that is refused after a revocation."""
    if not found["timeline"]:
        return []
    lines = ["| the first connection refused | after | in this step |", "|---|---|---|"]
    before = 0.0
    for step, ms in found["timeline"].items():
        lines.append(f"| {step} | {ms:.1f} ms | {ms - before:.1f} ms |")
        before = ms
    return lines


def look_of(found: dict[str, Any]) -> list[str]:
    """Return what one look for keys spends its CPU on."""
    steps: dict[str, float] = found["look"]
    if not steps:
        return []
    whole = sum(steps.values())
    lines = ["| one look for keys | CPU | share |", "|---|---|---|"]
    lines += [f"| {step} | {ms:.1f} ms | {ms / whole:.0%} |" for step, ms in steps.items()]
    return [*lines, f"| together | {whole:.1f} ms | |"]


def _latency_row(title: str, got: dict[str, Any]) -> str:
    ms = " | ".join(_number(got["ms"][key], ".1f") for key in ("p50", "p95", "p99", "max"))
    times = " | ".join(_number(got["ratio"][key], ".2f") for key in ("p50", "p99"))
    cpu = f"{_number(got['cpu_ms'], '.1f')} | {_number(got['cpu_ratio'], '.2f')}"
    return f"| {title} | {ms} | {times} | {cpu} | {_failed(got)} |"


def errors_of(found: dict[str, Any]) -> list[str]:
    """Return a table of the errors that contenders' applications saw."""
    lines = ["| scenario | whose | times | error |", "|---|---|---|---|"]
    if not any(got["errors"] for each in found["found"].values() for got in each.values()):
        return []
    for name, title in found["scenarios"].items():
        for one, got in found["found"][name].items():
            for error, times in got["errors"].items():
                said = error.replace("|", "/")
                lines.append(f"| {title} | {found['contenders'][one]} | {times} | `{said}` |")
    return lines


def _machine(found: dict[str, Any]) -> str:
    return machine_line(found["machine"])


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def write_table(name: str, lines: Sequence[str]) -> None:
    (HERE / f"{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    connect_latency()
    loop_stall()
