"""What is seen while it runs: one panel, drawn anew a few times a second."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ._figures import percentile
from ._stage import TOKEN_LIFETIME, Plan, Stage, Tally

WIDTH = 100
"""The widest that anything is drawn, in columns."""

_FRAMES = 5
"""A second. Drawing takes a few milliseconds from the connections, of either way."""

_RECENT = 5000
"""Percentiles are those of so many latest connections: sorting more would take time from them."""

OURS, USUAL = "rds_iam_async", "signing in do_connect"
"""What the two ways are called, here and in the summary."""


def introduction(plan: Plan) -> str:
    """Return what is about to happen, in one sentence."""
    workers = "1 worker opens" if plan.workers == 1 else f"{plan.workers} workers open"
    return (
        f"{workers} new TLS connections for {plan.seconds:g} s; "
        f"the local RDS accepts no token older than {TOKEN_LIFETIME:g} s."
    )


@contextlib.contextmanager
def shown(stage: Stage, console: Console) -> Generator[None]:
    """Show *stage* while the block runs: live on a terminal, else one line and no animation."""
    if not console.is_terminal:
        console.print(introduction(stage.plan), soft_wrap=True)
        yield
        return
    live = Live(get_renderable=lambda: panel(stage), console=console, refresh_per_second=_FRAMES)
    try:
        with live:
            yield
    finally:
        console.show_cursor()  # Ctrl-C may come while `Live` starts, when it has hidden it


def panel(stage: Stage) -> RenderableType:
    """Return the picture of *stage* as it is now."""
    return Panel(
        Group(
            Text(introduction(stage.plan), style="dim"),
            Text(),
            _bars(stage),
            Text(),
            _ways(stage),
        ),
        title="[bold]connecting while tokens rotate",
        border_style="cyan",
        padding=(1, 2),
        width=WIDTH,
    )


def _bars(stage: Stage) -> Table:
    bars = Table.grid(padding=(0, 2), expand=True)
    bars.add_column(style="bold")
    bars.add_column(ratio=1)
    bars.add_column(min_width=20)
    elapsed, planned = stage.elapsed, stage.plan.seconds
    bars.add_row(
        "progress",
        ProgressBar(total=planned, completed=elapsed, complete_style="cyan"),
        f"{elapsed:.0f} of {planned:g} s" if elapsed else "starting a local RDS",
    )
    minted = stage.ours.minted
    age = max(0.0, time.time() - stage.ours.minted_at) if minted else 0.0
    bars.add_row(
        "token",
        ProgressBar(total=TOKEN_LIFETIME, completed=age, complete_style="yellow"),
        f"no. {minted}, {age:.1f} s old" if minted else "none yet",
    )
    return bars


def _ways(stage: Stage) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("", ratio=1)
    for heading in ("connects", "per second", "p50 ms", "p99 ms", "failures"):
        table.add_column(heading, justify="right", min_width=10, no_wrap=True)
    table.add_row(*_row(OURS, stage.ours))
    table.add_row(*_row(USUAL, stage.usual))
    return table


def _row(name: str, tally: Tally) -> list[Text]:
    running = tally.round_began is not None
    recent = sorted(tally.latencies[-_RECENT:])
    seconds = tally.seconds
    cells = [
        f"{tally.connects:,}",
        f"{len(tally.latencies) / seconds:,.0f}" if seconds else "-",
        in_ms(percentile(recent, 50)),
        in_ms(percentile(recent, 99)),
    ]
    failures = Text(f"{tally.failures:,}", style="bold red" if tally.failures else "green")
    marked = Text(f"{'▸' if running else ' '} {name}", style="bold cyan" if running else "")
    return [marked, *(Text(cell) for cell in cells), failures]


def in_ms(seconds: float | None) -> str:
    """Return a length of time in milliseconds as it is printed, a dash for none."""
    return "-" if seconds is None else f"{seconds * 1000:.1f}"
