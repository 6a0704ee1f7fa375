"""`rds-iam-async local`: the local RDS in the foreground, for psql, an app, a debugger."""

from __future__ import annotations

import json
import threading
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._root import EXIT_STATUS, Json, app, plainly
from ._signals import until_told

if TYPE_CHECKING:
    from ..testing import Login


class EngineName(StrEnum):
    """What RDS calls the kinds of database."""

    postgres = "postgres"
    mariadb = "mariadb"


@app.command(epilog=EXIT_STATUS)
def local(
    engine: Annotated[EngineName, typer.Option(help="The kind of database.")] = EngineName.postgres,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")
    ] = 0,
    user: Annotated[str, typer.Option(help="The IAM user to create.")] = "app",
    database: Annotated[str, typer.Option(help="The database to create.")] = "app",
    token_lifetime: Annotated[
        float, typer.Option(min=1, max=900, help="How long a token is good, in seconds.")
    ] = 900.0,
    env_file: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write the variables there, too, for '. FILE'."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a database that authenticates as RDS does, until Ctrl-C; no AWS account needed.

    Standard output has the lines that another terminal needs, for psql, any driver and
    the AWS SDK. Standard error has each login, and why it was refused. Ctrl-C and SIGTERM
    end it, with exit status 0, and nothing is left behind.
    """
    with plainly():
        from .. import _local

        with (
            _local.running(
                engine=engine.value,
                port=port,
                user=user,
                database=database,
                token_lifetime=token_lifetime,
                observe=_tell,
            ) as place,
            until_told() as told,
        ):
            if env_file is not None:
                place.write(env_file)
            typer.echo(json.dumps(place.to_dict(), indent=2) if as_json else place.shell)
            typer.echo(f"rds-iam-async: {place.rds.url} is ready; Ctrl-C ends it", err=True)
            _wait(told)


def _tell(login: Login) -> None:
    from .. import _local

    typer.echo(_local.line_about(login), err=True)


def _wait(told: threading.Event) -> None:
    # In slices: a wait without end would not let a signal's handler run on every platform.
    while not told.wait(1.0):
        pass
