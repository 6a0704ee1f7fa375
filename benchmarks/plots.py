"""Draws every plot of the documentation from `results/*.json`; `make bench` ends with it."""

from __future__ import annotations

from _plot import INK, OTHERS, OURS, plot
from _results import read


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


def main() -> None:
    fleet()


if __name__ == "__main__":
    main()
