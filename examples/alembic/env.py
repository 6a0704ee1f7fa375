"""Alembic's environment for a database that wants IAM tokens, by an async or a sync driver.

For whoever migrates as the app connects. `open_engine` mints the token; a migration of hours
needs no second one, for RDS checks it only when a connection is opened.

Run it:
    export DATABASE_URL=postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem
    alembic --config examples/alembic/alembic.ini upgrade head
"""

import asyncio
import os

from alembic import context
from sqlalchemy import URL, Connection, make_url
from sqlalchemy.pool import NullPool

import rds_iam_async
import rds_iam_async.sync

# Yours: Base.metadata, for `alembic revision --autogenerate`.
target_metadata = None


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()


async def migrate_async(url: URL) -> None:
    async with (
        rds_iam_async.open_engine(url, poolclass=NullPool) as engine,
        engine.connect() as connection,
    ):
        await connection.run_sync(migrate)


def migrate_sync(url: URL) -> None:
    with (
        rds_iam_async.sync.open_engine(url, poolclass=NullPool) as engine,
        engine.connect() as connection,
    ):
        migrate(connection)


def write_sql(url: URL) -> None:
    """Print what `--sql` asks for; nothing is connected to."""
    context.configure(
        dialect_name=url.get_backend_name(), target_metadata=target_metadata, literal_binds=True
    )
    with context.begin_transaction():
        context.run_migrations()


address = make_url(os.environ["DATABASE_URL"])
if context.is_offline_mode():
    write_sql(address)
elif address.get_dialect(_is_async=True).is_async:
    asyncio.run(migrate_async(address))
else:
    migrate_sync(address)
