"""A worker process that takes jobs from a table and stops when it is told to.

For whoever runs queue workers, consumers or cron jobs beside a web service. It shows
`open_engine` around the whole life of a process. Start as many as you like: no job is
done twice, and one whose worker dies goes back to the others.

Run it (and end it with Ctrl-C or SIGTERM):
    export DATABASE_URL=postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem
    python examples/worker.py
"""

import asyncio
import logging
import os
import signal
from contextlib import suppress

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from rds_iam_async import open_engine

logger = logging.getLogger("worker")

POLL_SECONDS = 1.0

# SQLAlchemy 2.1 wraps what goes wrong while connecting, 2.0 lets it out as it is.
DATABASE_TROUBLE = (DBAPIError, asyncpg.PostgresError, OSError)

TAKE = text(
    "SELECT id, recipient FROM jobs WHERE done_at IS NULL AND due_at <= now()"
    " ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED"
)
DONE = text("UPDATE jobs SET done_at = now() WHERE id = :id")
FAILED = text("UPDATE jobs SET due_at = now() + interval '1 minute' WHERE id = :id")


async def handle(recipient: str) -> None:
    """Do one job. Yours would send a mail or call a service."""
    if "@" not in recipient:
        raise ValueError(f"{recipient!r} is no address")


async def do_one_job(engine: AsyncEngine) -> bool:
    """Take one job and do it, within one transaction; tell whether there was one."""
    async with engine.begin() as connection:
        job = (await connection.execute(TAKE)).one_or_none()
        if job is None:
            return False
        try:
            await handle(job.recipient)
        except Exception:
            logger.exception("job %d failed", job.id)
            await connection.execute(FAILED, {"id": job.id})
            return True
        await connection.execute(DONE, {"id": job.id})
    logger.info("job %d done", job.id)
    return True


async def work(engine: AsyncEngine, stop: asyncio.Event) -> None:
    """Do jobs until *stop* is set; a job that was begun is finished first."""
    logger.info("waiting for jobs")
    while not stop.is_set():
        try:
            found = await do_one_job(engine)
        except DATABASE_TROUBLE as error:
            logger.warning("the database is in trouble, trying again: %s", error)
            found = False
        if not found:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL_SECONDS)
    logger.info("stopped")


async def main() -> None:
    """Run until SIGTERM (an orchestrator) or SIGINT (Ctrl-C)."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_engine(os.environ["DATABASE_URL"], pool_pre_ping=True) as engine:
        await work(engine, stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
