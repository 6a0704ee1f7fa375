"""A Taskiq worker whose connections log in with IAM tokens, in each of its processes.

For whoever runs background jobs on asyncio. Each worker process opens a refresher and an
engine of its own when it starts, and closes them when it stops. When AWS gives no credentials
at start-up the process ends with `CredentialsError` before it takes a job, and Taskiq starts
another; meanwhile jobs wait in Redis, or go to processes that hold a token already.

Run it:
    export DATABASE_URL=postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem REDIS_URL=redis://localhost
    taskiq worker --app-dir examples --workers 2 taskiq_worker:broker
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from typing import Annotated

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from taskiq import Context, TaskiqDepends, TaskiqEvents, TaskiqState
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from rds_iam_async import MintError, TokenRefresher

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0

redis_url = os.environ["REDIS_URL"]
# A stream: a job whose worker died goes to another after 10 minutes, while a list forgets it.
broker = RedisStreamBroker(
    redis_url,
    consumer_id="0",  # what was sent before the first worker ever started is for it, too
    maxlen=1_000_000,  # jobs that are done stay until there are so many
    unacknowledged_lock_timeout=60,  # or a worker that dies at the wrong moment holds it for ever
).with_result_backend(RedisAsyncResultBackend[int](redis_url, result_ex_time=3600))


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def begin(state: TaskiqState) -> None:
    """Hold the first token before the first job."""
    state.engine = create_async_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
    state.sessions = async_sessionmaker(state.engine, expire_on_commit=False)
    state.refresher = TokenRefresher(state.engine)
    try:
        await state.refresher.start()
    except MintError:
        # Taskiq starts another process at once; AWS is not to be asked that often.
        await asyncio.sleep(PAUSE_SECONDS)
        raise


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def end(state: TaskiqState) -> None:
    """Leave nothing behind."""
    await state.engine.dispose()
    await state.refresher.aclose()


async def get_session(
    context: Annotated[Context, TaskiqDepends()],
) -> AsyncGenerator[AsyncSession]:
    """Give a job its session. The job commits; what it did not commit is rolled back."""
    sessions: async_sessionmaker[AsyncSession] = context.state.sessions
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, TaskiqDepends(get_session)]


@broker.task
async def store_order(item: str, quantity: int, session: Session) -> int:
    """Store one order; return its number."""
    insert = text("INSERT INTO orders (item, quantity) VALUES (:item, :quantity) RETURNING id")
    stored = await session.scalar(insert, {"item": item, "quantity": quantity})
    await session.commit()
    number = int(stored)
    logger.info("order %d stored by process %d", number, os.getpid())
    return number
