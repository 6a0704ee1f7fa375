"""How all plots look: readable on light and on dark pages, without a background of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from _results import PLOTS

INK = "#7d828a"
OURS = "#2196b8"
OTHERS = ("#e0703a", "#9a6bc9", "#5b9a3c", "#c4568a", "#b08a2e", "#5f7fd0")

LOOK: Any = {
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: it is searched, and takes the page's font
    "svg.hashsalt": "rds_iam_async",  # the same plot is the same file
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "axes.grid": True,
    "legend.frameon": False,
    "font.family": "sans-serif",
}


@contextmanager
def plot(name: str, *, rows: int = 1, height: float = 3.2) -> Iterator[Any]:
    """Give the axes of a plot; write it to `<name>.svg` at the end."""
    import matplotlib as mpl  # who only measures, or tests that, need not have it

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams.update(LOOK)
    figure, axes = plt.subplots(rows, 1, figsize=(7.6, height * rows), layout="constrained")
    yield axes
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(PLOTS / f"{name}.svg", transparent=True, metadata={"Date": None})
    plt.close(figure)
