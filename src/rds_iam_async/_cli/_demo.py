"""`rds-iam-async demo`: connections while tokens rotate, to look at."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ._root import EXIT_STATUS, FAILED, app, plainly


@app.command(epilog=EXIT_STATUS)
def demo(
    seconds: Annotated[int, typer.Option(min=1, help="How long to open connections.")] = 20,
    workers: Annotated[
        int, typer.Option(min=1, max=50, help="How many open them at the same time.")
    ] = 4,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON, and nothing else.")
    ] = False,
    svg: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, writable=True, help="Save the final screen there as an SVG picture."
        ),
    ] = None,
    refuse: Annotated[
        int, typer.Option(min=0, hidden=True, help="Refuse so many tokens, however good.")
    ] = 0,
) -> None:
    """Open connections while tokens rotate under them, beside the usual way of signing.

    Needs no AWS account: a real PostgreSQL is started on this machine, behind a gate that
    judges tokens as RDS does and accepts none for longer than a few seconds. The exit
    status is 1 if any connection of ours failed.
    """
    if svg is not None and not os.access(svg.absolute().parent, os.W_OK):
        raise typer.BadParameter(f"cannot write in {svg.absolute().parent}", param_hint="--svg")
    on_terminal = sys.stdout.isatty() and not as_json
    console = Console(force_terminal=on_terminal, quiet=as_json)
    with plainly():
        from .. import _demo

        stage = _demo.Stage(_demo.Plan(seconds=seconds, workers=workers, refused=refuse))
        with _demo.shown(stage, console):
            _demo.run(stage)
        report = stage.report()
        console.print(_demo.summary(report))
        if as_json:
            typer.echo(json.dumps(report.to_dict(), indent=2))
        if svg is not None:
            _demo.save_picture(stage, svg)
    raise typer.Exit(FAILED if report.ours.failures else 0)
