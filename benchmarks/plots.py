"""Draws the plots of the documentation, and writes its tables, from `results/*.json`.

`make bench` ends with it; a result that is not there is left out.
"""

from __future__ import annotations

import contextlib

from _latency_page import connect_latency, loop_stall
from _plot import INK, OTHERS, OURS, plot
from _results import read
from _tables import ALL, duration


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
    """Each cost by the number of endpoints, both scales logarithmic: a line is a line."""
    sizes = read("size")["sizes"]
    numbers = [one["size"] for one in sizes]
    curves = {"refresh cycle": "cycle", "pure signing": "signing", "attach": "attach"}
    curves["status()"] = "status"
    with plot("size") as ax:
        for (label, name), color in zip(curves.items(), (OURS, *OTHERS), strict=False):
            ax.plot(numbers, [one[name] for one in sizes], marker=".", color=color, label=label)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("endpoints")
        ax.set_ylabel("CPU seconds, for all")
        ax.legend()


def main() -> None:
    for draw in (hot_path, size, fleet, connect_latency, loop_stall, *ALL):
        with contextlib.suppress(FileNotFoundError):
            draw()


if __name__ == "__main__":
    main()
