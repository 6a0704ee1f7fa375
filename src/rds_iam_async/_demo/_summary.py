"""What is left in the end: a table, a conclusion, and a picture of it all if one is wanted."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ._conclusion import conclusion
from ._figures import Figures, Report, percentile
from ._screen import OURS, USUAL, WIDTH, in_ms, panel
from ._stage import Stage

_MUST_BE_ZERO = frozenset(
    {"failures", "signed on the connect path", "refused attempts", "plaintext attempts"}
)


def summary(report: Report) -> RenderableType:
    """Return the figures of both ways side by side, and what they come to."""
    table = Table(
        box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, expand=True
    )
    table.add_column("", ratio=1)
    table.add_column(OURS, justify="right", header_style="bold cyan")
    table.add_column(USUAL, justify="right", min_width=24)
    for (name, ours), (_, usual) in zip(_rows(report.ours), _rows(report.usual), strict=True):
        good = "" if name not in _MUST_BE_ZERO else "bold green" if ours == "0" else "bold red"
        table.add_row(name, Text(ours, style=good), usual)
    text = Group(Text(), table, Text(), *_failures(report), Text(conclusion(report)))
    return Constrain(Padding(text, (0, 3)), WIDTH)


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
    console.save_svg(str(path), title="rds-iam-async demo")


def _rows(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "tokens minted", f"{figures.minted:,}"
    yield "connects", f"{figures.connects:,}"
    yield "failures", f"{figures.failures:,}"
    yield "signed on the connect path", f"{figures.signed_on_connect_path:,}"
    yield "ms waited for signatures", in_ms(figures.waited)
    yield "refused attempts", f"{figures.refused_attempts:,}"
    yield "plaintext attempts", f"{figures.plaintext_attempts:,}"
    rate = figures.connects_per_second
    yield "connects per second", "-" if rate is None else f"{rate:,.0f}"
    for percent in (50, 99):
        yield f"connect latency p{percent}, ms", in_ms(percentile(figures.latencies, percent))


def _failures(report: Report) -> Iterator[Text]:
    for name, figures in ((OURS, report.ours), (USUAL, report.usual)):
        for error in figures.errors:
            yield Text(f"{name}: {error}", style="red")
    if report.ours.errors or report.usual.errors:
        yield Text()
