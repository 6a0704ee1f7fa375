"""The story: a local RDS, two ways to log in to it, turn by turn, and all that is counted.

The one place outside of `testing` that uses it, and only when the demo is run.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import ssl
from collections.abc import Generator
from typing import TYPE_CHECKING

import boto3
import botocore.session

from .._token import Credentials
from ._our_way import open_our_way
from ._stage import TOKEN_LIFETIME, Stage, Tally
from ._usual_way import open_usual_way
from ._workload import run_round, warm_up

if TYPE_CHECKING:
    from ..testing import LocalRds, LoginLog


def run(stage: Stage) -> None:
    """Do what *stage* plans, and count in it what happens. Blocks.

    Raises:
        RdsIamError: When there is no local RDS to be had.
    """
    from ..testing import LocalRds

    with LocalRds(token_lifetime=TOKEN_LIFETIME) as rds:
        rds.refuse(stage.plan.refused)
        asyncio.run(_tell(stage, rds))


async def _tell(stage: Stage, rds: LocalRds) -> None:
    # One session, one TLS context, one gate: the two ways differ in nothing but who signs when.
    session = _session(rds.credentials, rds.region)
    tls = ssl.create_default_context(cafile=rds.ca_file)
    ours, usual = stage.ours, stage.usual
    async with (
        open_our_way(rds.url, rds.endpoint, session=session, tls=tls, tally=ours) as our_engine,
        open_usual_way(
            rds.url, rds.endpoint, session=session, tls=tls, tally=usual
        ) as usual_engine,
    ):
        ways = ((our_engine, ours), (usual_engine, usual))
        for engine, tally in ways:
            await warm_up(engine, tally)
            _read_log(rds.log, tally)
        with _settled_heap():
            for lengths in stage.plan.rounds():
                for (engine, tally), seconds in zip(ways, lengths, strict=True):
                    await run_round(engine, tally, workers=stage.plan.workers, seconds=seconds)
                    _read_log(rds.log, tally)


def _read_log(log: LoginLog, tally: Tally) -> None:
    """Move what the gate has logged to *tally*: nobody connects between two rounds."""
    outcomes = [login.outcome for login in log]
    log.clear()
    tally.refused_attempts += outcomes.count("denied")
    tally.plaintext_attempts += outcomes.count("plaintext")


def _session(credentials: Credentials, region: str) -> boto3.Session:
    """Return a session with these keys that reads nothing of the user's AWS set-up.

    A profile that does not exist, or a file that does not parse, is no matter here.
    """
    variables = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    return boto3.Session(
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        region_name=region,
        botocore_session=botocore.session.Session(session_vars=variables),
    )


@contextlib.contextmanager
def _settled_heap() -> Generator[None]:
    """Keep the garbage collector away from what start-up made.

    One full collection of it stops the process for 50 to 100 ms, once or twice in a run:
    the figures would show on whose turn it fell.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
