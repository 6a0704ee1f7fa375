"""What is left in the end: a table, a conclusion, and a picture of it all if one is wanted."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ._conclusion import conclusion
from ._figures import Figures, Report, percentile
from ._screen import WIDTH, in_ms, panel
from ._stage import Stage

_MUST_BE_ZERO = frozenset(
    {"failures", "signed on the connect path", "refused attempts", "plaintext attempts"}
)


def summary(report: Report) -> RenderableType:
    """Return the figures of both ways side by side, and what they come to."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("")
    table.add_column("rds_iam_async", justify="right", header_style="bold cyan")
    table.add_column("signing in do_connect", justify="right")
    for (name, ours), (_, usual) in zip(_rows(report.ours), _rows(report.usual), strict=True):
        good = "" if name not in _MUST_BE_ZERO else "bold green" if ours == "0" else "bold red"
        table.add_row(name, Text(ours, style=good), usual)
    return Padding(Group(table, *_failures(report), Text(conclusion(report))), (0, 2))


def save_picture(stage: Stage, path: Path) -> None:
    """Write the last state of the screen and the summary to *path*, as SVG."""
    console = Console(
        record=True,
        width=WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(panel(stage), summary(stage.report()))
    console.save_svg(str(path), title="$ rds-iam-async demo")


def _rows(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "tokens minted", f"{figures.minted:,}"
    yield "connects", f"{figures.connects:,}"
    yield "failures", f"{figures.failures:,}"
    yield "signed on the connect path", f"{figures.signed_on_connect_path:,}"
    yield "waited for signatures, ms in all", in_ms(figures.waited)
    yield "refused attempts", f"{figures.refused_attempts:,}"
    yield "plaintext attempts", f"{figures.plaintext_attempts:,}"
    rate = figures.connects_per_second
    yield "connects per second", "-" if rate is None else f"{rate:,.0f}"
    for percent in (50, 99):
        yield f"connect latency p{percent}, ms", in_ms(percentile(figures.latencies, percent))


def _failures(report: Report) -> Iterator[Text]:
    for name, figures in (("rds_iam_async", report.ours), ("do_connect", report.usual)):
        for error in figures.errors:
            yield Text(f"{name}: {error}", style="red")
    if report.ours.errors or report.usual.errors:
        yield Text()
