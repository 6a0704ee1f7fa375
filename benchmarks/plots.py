"""Draws the plots of the documentation, and writes its tables, from `results/*.json`.

`make bench` ends with it. What has no result is left out with a sentence, and so is what an
older form of a result does not tell.
"""

from __future__ import annotations

from collections.abc import Callable

from _latency_page import connect_latency, loop_stall
from _line import FROM
from _plot import INK, OTHERS, OURS, plot
from _results import read
from _tables import ALL, duration
from _targets import SIZE


def fleet() -> None:
    """The busiest second of each five minutes, with our spread and without."""
    found = read("fleet")
    titles = {600.0: "started within ten minutes", 1.0: "started within one second"}
    with plot("fleet", rows=2) as axes:
        for ax, (rollout, title) in zip(axes, titles.items(), strict=True):
            runs = [one for one in found["scenarios"] if one["rollout"] == rollout]
            for one in sorted(runs[:2], key=lambda one: one["spread"]):
                curve = one["calls"]["busiest_second_in_each_five_minutes"]
                hours = [number / 12 for number in range(len(curve))]
                spread = one["spread"] > 0
                ax.plot(
                    hours,
                    [calls or None for calls in curve],
                    color=OURS if spread else OTHERS[0],
                    marker=None if spread else ".",
                    linestyle="-" if spread else "none",
                    linewidth=1.2,
                    markersize=4,
                    label="as it is" if spread else "spread=0",
                )
                if spread:
                    ax.axhline(
                        found["target"] * one["calls"]["mean"],
                        color=INK,
                        linestyle="--",
                        linewidth=1,
                        label="three times the mean",
                    )
            middle = found["hours"] / 2
            ax.axvspan(middle, middle + 0.5, color=INK, alpha=0.2, linewidth=0)
            ax.text(middle + 0.6, 1.2, "STS down", fontsize=9)
            ax.set_yscale("log")
            ax.set_ylim(bottom=1)
            ax.set_xlim(0, found["hours"])
            ax.set_xticks(range(0, found["hours"] + 1, 2))
            ax.set_title(f"{found['processes']:,} processes, {title}", loc="left", fontsize=10)
            ax.set_ylabel("calls of STS in the\nbusiest second of five minutes")
        axes[1].set_xlabel("hours since the deployment")
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(handles, labels, loc="outside upper right", ncols=3)


def hot_path() -> None:
    """One bar for each way, on a logarithmic scale: they lie five powers of ten apart."""
    seconds = read("hot_path")["seconds"]
    names = list(seconds)[::-1]
    with plot("hot_path", height=2.6) as ax:
        colors = [OURS if name == "rds_iam_async" else OTHERS[0] for name in names]
        ax.barh(names, [seconds[name] for name in names], color=colors)
        for number, name in enumerate(names):
            ax.text(seconds[name] * 1.1, number, duration(seconds[name]), va="center", fontsize=9)
        ax.set_xscale("log")
        ax.set_xlim(5e-8, 1)
        ax.set_xticks([1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2], minor=False)
        ax.set_xticklabels(["100 ns", "1 µs", "10 µs", "100 µs", "1 ms", "10 ms"])
        ax.grid(visible=False, axis="y")


def size() -> None:
    """Each cost per endpoint over the logarithm of their number: a straight line is level."""
    sizes = read("size")["sizes"]
    numbers = [one["size"] for one in sizes]
    curves = {"refresh cycle": "cycle", "pure signing": "signing", "attach": "attach"}
    curves["status()"] = "status"
    with plot("size", rows=2, height=2.8) as (cpu, memory):
        for (label, name), color in zip(curves.items(), (OURS, *OTHERS), strict=False):
            each = [1e6 * one[name] / one["size"] for one in sizes]
            cpu.plot(numbers, each, marker=".", color=color, label=label)
        cpu.set_ylabel("µs of CPU per endpoint")
        cpu.legend()
        each = [one["bytes_per_endpoint"] for one in sizes]
        memory.plot(numbers, each, marker=".", color=OURS)
        memory.axhline(SIZE["bytes_per_endpoint"], color=INK, linestyle="--", linewidth=1)
        memory.set_ylabel("bytes per endpoint")
        memory.set_xlabel("endpoints")
        for ax in (cpu, memory):
            ax.set_xscale("log")
            ax.set_ylim(bottom=0)
            ax.axvspan(numbers[0], FROM, color=INK, alpha=0.1, linewidth=0)


def left_out(draw: Callable[[], None]) -> str:
    """Draw or write one; return why it cannot be, if so, and leave what there is as it is."""
    try:
        draw()
    except FileNotFoundError as error:
        return f"left out: {named(draw)}, for there is no {error.filename}"
    except KeyError as error:
        return f"left out: {named(draw)}, for its result is of a form that has no {error}"
    return ""


def named(draw: Callable[[], None]) -> str:
    kind = "the table" if draw in ALL else "the plot"
    return f"{kind} {draw.__name__}"


def main() -> None:
    for draw in (hot_path, size, fleet, connect_latency, loop_stall, *ALL):
        if missing := left_out(draw):
            print(missing)


if __name__ == "__main__":
    main()
