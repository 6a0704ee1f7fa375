"""A database that is made once, and is as good as new for each test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from .._errors import ConfigurationError
from .._loop_thread import LoopThread
from ..testing import LocalRds
from ._engine import started_engine

Schema = str | Callable[[AsyncEngine], Awaitable[object]] | None
"""What makes the tables: SQL, or an async function that is given an engine."""


class Database:
    """The database of a local RDS, from one test to the next."""

    def __init__(self, rds: LocalRds, schema: Schema) -> None:
        """Make the tables, and keep a copy of what is there then.

        Args:
            rds: Whose database it is.
            schema: What makes the tables; `None` leaves the database as it is.

        Raises:
            ConfigurationError: When *schema* is something else.
        """
        if not (schema is None or isinstance(schema, str) or callable(schema)):
            raise ConfigurationError(
                f"rds_iam_schema is a {type(schema).__name__}",
                hint="return SQL, an async function that takes an engine, or nothing",
            )
        self._rds = rds
        self._schema = schema
        # MariaDB cannot copy a database: there the tables are made again for each test.
        self._is_kept = rds.engine == "postgres"
        if self._is_kept:
            self._make_tables()
            rds.create_snapshot()

    def renew(self) -> None:
        """Make it what it was at first. Sessions on it end."""
        self._rds.restore_snapshot()
        if not self._is_kept:
            self._make_tables()

    def _make_tables(self) -> None:
        if isinstance(self._schema, str):
            self._rds.execute(self._schema, owner=self._rds.user)
        elif self._schema is not None:
            with started_engine(self._rds) as engine:
                _run(_awaited(self._schema, engine))
            self._rds.log.clear()  # these logins are not the test's


async def _awaited(schema: Callable[[AsyncEngine], Awaitable[object]], engine: AsyncEngine) -> None:
    await schema(engine)


def _run(work: Coroutine[Any, Any, None]) -> None:
    # Not in a loop of this thread: pytest's plugins may have one.
    thread = LoopThread("rds_iam_schema")
    try:
        thread.run(work)
    finally:
        thread.stop()
