"""An AWS Lambda function that keeps its engine from one invocation to the next.

For whoever queries RDS from Lambda. Lambda freezes the process between invocations, for
seconds or for an hour, so a background task is of no use: `start()` is not called. The
first connection mints a token; one that finds it too old after a freeze mints the next.

Configure the function with:
    handler  lambda_handler.handler
    DATABASE_URL=postgresql+asyncpg://app@myproxy.proxy-abc.eu-west-1.rds.amazonaws.com/orders
and a role that may `rds-db:connect`. With RDS Proxy no CA file is needed.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import aioboto3
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import TokenRefresher

# One invocation at a time: one connection. It may have died in the freeze, hence the ping.
engine = create_async_engine(
    os.environ["DATABASE_URL"], pool_size=1, max_overflow=0, pool_pre_ping=True
)
# Importing the SDK takes seconds of a small function's share of a CPU, but not here: while
# it initialises a function has a whole one. So it is not left to the first connection.
refresher = TokenRefresher(engine, session=aioboto3.Session())

# One loop for the life of the process, since pooled connections belong to the loop that
# opened them; asyncio.run() would make a new one for each invocation.
loop = asyncio.new_event_loop()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answer one invocation."""
    return loop.run_until_complete(jobs_waiting())


async def jobs_waiting() -> dict[str, Any]:
    """Count the jobs that are not done."""
    async with engine.connect() as connection:
        waiting = await connection.scalar(text("SELECT count(*) FROM jobs WHERE done_at IS NULL"))
    return {"jobs_waiting": waiting}
