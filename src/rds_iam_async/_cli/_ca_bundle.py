"""`rds-iam-async ca-bundle`: AWS's certificate authorities, checked, in a file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from ._root import EXIT_STATUS, app, plainly


@app.command(epilog=EXIT_STATUS)
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
    with plainly():
        from .. import _ca_bundle, _download

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
