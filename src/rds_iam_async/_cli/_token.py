"""`rds-iam-async token`: one token, for a client that asks for a password."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

import typer

from ._root import EXIT_STATUS, Json, Profile, Region, app, plainly


@app.command(epilog=EXIT_STATUS)
def token(
    host: Annotated[str, typer.Option("--host", "--hostname", help="The database's own RDS name.")],
    user: Annotated[str, typer.Option("--user", "--username", help="The database user.")],
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="The database's port; MySQL's is 3306.")
    ] = 5432,
    region: Region = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Print an IAM token, alone, on standard output.

    It takes the place of a password, for 15 minutes:
    `PGPASSWORD=$(rds-iam-async token --host … --user …) psql "host=… user=… sslmode=verify-full"`.
    What there is to say besides goes to standard error: that the AWS credentials, and so
    the token, end earlier; that the host is no name of RDS, or one of another region.
    """
    with plainly():
        from .. import _one_token

        made = asyncio.run(
            _one_token.make(host=host, port=port, user=user, region=region, profile=profile)
        )
        for remark in made.remarks(now=time.time()):
            typer.echo(f"rds-iam-async: {remark}", err=True)
    document: dict[str, Any] = made.to_dict()
    typer.echo(json.dumps(document, indent=2) if as_json else document["token"])
