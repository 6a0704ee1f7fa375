"""The command `rds-iam-async`: arguments in, one call, its result out."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from ._errors import ConfigurationError, RdsIamError

_INSTALL = "pip install 'rds-iam-async[cli,local]'"

try:
    import typer
    from rich.console import Console
except ImportError as missing:
    # Only the command itself imports this module, so there is nobody to catch it.
    sys.stderr.write(f"rds-iam-async: {missing.name} is not installed: {_INSTALL}\n")
    raise SystemExit(2) from None

app = typer.Typer(
    name="rds-iam-async",
    help="IAM database authentication at the price of a static password.",
    no_args_is_help=True,
    rich_markup_mode="markdown",  # so that lines of a docstring join
    pretty_exceptions_enable=False,  # they may print locals, and locals hold tokens
)


def main() -> None:
    """Run the command."""
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rds-iam-async {version('rds-iam-async')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    # A callback keeps the names of sub-commands, however few there are.
    pass


@app.command()
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
    with _plainly():
        from . import _demo

        stage = _demo.Stage(_demo.Plan(seconds=seconds, workers=workers, refused=refuse))
        with _demo.shown(stage, console):
            _demo.run(stage)
        report = stage.report()
        console.print(_demo.summary(report))
        if as_json:
            typer.echo(json.dumps(report.to_dict(), indent=2))
        if svg is not None:
            _demo.save_picture(stage, svg)
    raise typer.Exit(1 if report.ours.failures else 0)


@app.command()
def ca_bundle(
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write it there, whole; else print it.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Only the ones of this region, such as eu-west-1.")
    ] = None,
    partition: Annotated[
        str | None,
        typer.Option(help="Instead of aws (all commercial regions): aws-cn, aws-us-gov."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="From a mirror of your own, by https.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="How long to wait, in seconds.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Say what it holds as JSON.")] = False,
) -> None:
    """Download the certificate authorities of RDS and Aurora, all that have not expired.

    The file is for `ca_file=` and `RDS_IAM_CA_FILE`. Without `--output` it goes to standard
    output, and what is said about it to standard error. The exit status is 1 when there is
    no good bundle to be had or it cannot be written; an old file is then left as it was.
    """
    if sum(choice is not None for choice in (region, partition, url)) > 1:
        raise typer.BadParameter("give one of --region, --partition and --url")
    if output is not None and not os.access(output.absolute().parent, os.W_OK):
        raise typer.BadParameter(
            f"cannot write in {output.absolute().parent}", param_hint="--output"
        )
    with _plainly(failure=1):
        from . import _ca_bundle, _download

        source = url or _ca_bundle.url_of(region=region, partition=partition)
        data = _download.downloaded(source, timeout=timeout)
        bundle = _ca_bundle.inspected(data, url=source, now=time.time())
        if output is None:
            typer.echo(bundle.pem, nl=False)
        else:
            _download.write_whole(output, bundle.pem)
        file = None if output is None else str(output.absolute())
        facts = json.dumps({**bundle.to_dict(), "file": file}, indent=2)
        typer.echo(facts if as_json else _ca_bundle.report(bundle, file=file), err=file is None)


@contextlib.contextmanager
def _plainly(*, failure: int = 2) -> Generator[None]:
    """Turn what keeps a command from its work into one line and an exit status.

    Args:
        failure: The status where the call was right, and the work could not be done.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"rds-iam-async: {error.name} is not installed: {_INSTALL}", err=True)
        raise typer.Exit(2) from None
    except RdsIamError as error:
        typer.echo(f"rds-iam-async: {error.args[0]}\nhint: {error.hint}", err=True)
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else failure) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


if __name__ == "__main__":
    main()
