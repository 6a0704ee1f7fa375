"""The root of the command, and what all its commands have in common: options, exit statuses."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Generator
from importlib.metadata import version
from typing import Annotated

import typer

from .._errors import ConfigurationError, RdsIamError
from ._install import INSTALL

FAILED = 1
"""The call was right, and the work could not be done or a check failed."""

WRONG_CALL = 2
"""The call is wrong, or a package is missing; nothing was begun."""

INTERRUPTED = 130
"""Ctrl-C, as shells count it: 128 and the number of SIGINT."""

EXIT_STATUS = (
    f"Exit status: 0 all is well, {FAILED} the work could not be done or a check failed, "
    f"{WRONG_CALL} the call or the installation is wrong, {INTERRUPTED} interrupted."
)

_UNWRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""How output fails, but for a pipe that nobody reads, which typer knows."""

app = typer.Typer(
    name="rds-iam-async",
    help="IAM database authentication at the price of a static password.",
    epilog=EXIT_STATUS,
    no_args_is_help=True,
    rich_markup_mode="markdown",  # so that lines of a docstring join
    pretty_exceptions_enable=False,  # they may print locals, and locals hold tokens
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
Region = Annotated[
    str | None,
    typer.Option(
        help="The database's region, such as eu-west-1; else what the host name says, else "
        "the AWS profile or environment."
    ),
]
Profile = Annotated[
    str | None, typer.Option(help="A profile of the AWS config file, instead of AWS_PROFILE.")
]


def main() -> None:
    """Run the command."""
    # What no handler takes, Python writes to standard error: the SDK's warnings, of which our
    # own errors tell all.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app()
    except OSError as error:
        if error.errno not in _UNWRITTEN:  # what commands do has errors of ours: that is a bug
            raise
        sys.stderr.write(f"rds-iam-async: cannot write: {error.strerror}\n")
        _leave_unwritten()
        raise SystemExit(FAILED) from None


def _leave_unwritten() -> None:
    # Else the interpreter tries once more as it ends, and says so.
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


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


@contextlib.contextmanager
def plainly() -> Generator[None]:
    """Turn what keeps a command from its work into one line and an exit status."""
    try:
        yield
    except ModuleNotFoundError as error:
        typer.echo(f"rds-iam-async: {error.name} is not installed: {INSTALL}", err=True)
        raise typer.Exit(WRONG_CALL) from None
    except RdsIamError as error:
        typer.echo(f"rds-iam-async: {error.args[0]}\nhint: {error.hint}", err=True)
        wrong_call = isinstance(error, ConfigurationError)
        raise typer.Exit(WRONG_CALL if wrong_call else FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
