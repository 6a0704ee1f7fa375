"""`rds-iam-async doctor`: why a login fails, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ._root import EXIT_STATUS, FAILED, Json, Profile, Region, app, plainly

if TYPE_CHECKING:
    from .._doctor import Diagnosis, Subject


@app.command(epilog=EXIT_STATUS)
def doctor(
    url: Annotated[
        str,
        typer.Argument(
            help="The URL that the app has, without a password: "
            "postgresql+asyncpg://user@host/database; without a driver it means asyncpg, or "
            "asyncmy."
        ),
    ],
    region: Region = None,
    token_host: Annotated[
        str | None,
        typer.Option(
            help="The RDS name to sign, where the URL dials something else: a tunnel, an alias."
        ),
    ] = None,
    token_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The port to sign, likewise.")
    ] = None,
    profile: Profile = None,
    ca_file: Annotated[
        str | None,
        typer.Option(help="Roots in PEM, instead of what RDS_IAM_CA_FILE names."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="The longest wait for each answer, in seconds.")
    ] = 5.0,
    as_json: Json = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log every step on standard error.")
    ] = False,
) -> None:
    """Find out why a login with an IAM token fails, and say what to do.

    It checks one thing after another: credentials, clock, region, name, network, TLS,
    database user, and the login itself, with the app's own driver. A cross has its fix
    right below; the first one is the cause. Nothing is changed anywhere, no secret is
    printed, and none is sent to a server that was not verified. The exit status is 0 if no
    check failed.
    """
    _log(verbose=verbose)
    with plainly():
        from .. import _doctor

        subject = _doctor.subject_of(
            url,
            region=region,
            token_host=token_host,
            token_port=token_port,
            profile=profile,
            ca_file=ca_file,
            timeout=timeout,
        )
        diagnosis = asyncio.run(_examined(subject, quiet=as_json))
    if as_json:
        typer.echo(json.dumps(diagnosis.to_dict(), indent=2))
    raise typer.Exit(0 if diagnosis.healthy else FAILED)


async def _examined(subject: Subject, *, quiet: bool) -> Diagnosis:
    from .. import _doctor

    console = Console(quiet=quiet, highlight=False, emoji=False, markup=False)
    console.print(_doctor.shown(subject, console), soft_wrap=True)
    async for what in _doctor.examine(subject):
        console.print(_doctor.shown(what, console), soft_wrap=True)
        if isinstance(what, _doctor.Diagnosis):
            return what
    raise AssertionError("an examination ends with a diagnosis")


def _log(*, verbose: bool) -> None:
    """Let the log be read, or be silent, as `main` has it: the findings say it all."""
    if verbose:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
