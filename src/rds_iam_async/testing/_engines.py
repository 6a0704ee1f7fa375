"""The two kinds of database that a local RDS can be, and what tells them apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from .._errors import ConfigurationError
from . import _mysql_sql, _sql
from ._gate import Session, Visit
from ._mariadb import MariaDb
from ._postgres import Postgres
from ._server_process import ServerProcess

EngineName = Literal["postgres", "mariadb"]

SNAPSHOT = "rds_iam_snapshot"
"""The database that keeps a copy. A fixed name: one made from another could be cut to it."""


class Server(Protocol):
    """A database server that is being prepared, behind the gate."""

    @property
    def process(self) -> ServerProcess:
        """Its process and its files."""
        ...

    async def execute(self, database: str, *statements: str) -> None:
        """Run each of *statements* as superuser, past the gate."""
        ...

    async def log_in(self, visit: Visit) -> Session | None:
        """Lead a visitor of the gate to a session, if any."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One kind of database.

    Attributes:
        server: Starts one.
        driver: What SQLAlchemy calls it, with its asyncio driver.
        own: The database that is there from the beginning.
        taken: The names of users and databases that it has itself.
        set_up: The statements that make the first user and its database.
        create_iam_user: Those that make one more user.
        create_password_user: And one with a password.
        become: Those after which what is created belongs to a user.
        clear_database: Those that make a database of a user's anew, empty.
        copy_database: And as a copy of another; `None` where there is no such thing.
    """

    server: Callable[[], Server]
    driver: str
    own: str
    taken: frozenset[str]
    set_up: Callable[[str, str], tuple[str, ...]]
    create_iam_user: Callable[[str], tuple[str, ...]]
    create_password_user: Callable[[str, str], tuple[str, ...]]
    become: Callable[[str], tuple[str, ...]]
    clear_database: Callable[[str, str], tuple[str, ...]]
    copy_database: Callable[[str, str, str], tuple[str, ...]] | None


_ENGINES: dict[str, Engine] = {
    "postgres": Engine(
        server=Postgres,
        driver="postgresql+asyncpg",
        own="postgres",
        taken=frozenset({"postgres", "rds_iam", SNAPSHOT}),
        set_up=_sql.set_up,
        create_iam_user=_sql.create_iam_user,
        create_password_user=_sql.create_password_user,
        become=_sql.become,
        clear_database=_sql.clear_database,
        copy_database=_sql.copy_database,
    ),
    "mariadb": Engine(
        server=MariaDb,
        driver="mysql+asyncmy",
        own="mysql",
        taken=frozenset(
            {"root", "mariadb.sys", "mysql", "information_schema", "performance_schema", "sys"}
        ),
        set_up=_mysql_sql.set_up,
        create_iam_user=_mysql_sql.create_iam_user,
        create_password_user=_mysql_sql.create_password_user,
        become=_mysql_sql.become,
        clear_database=_mysql_sql.clear_database,
        copy_database=None,
    ),
}


def engine_of(name: str) -> Engine:
    """Return the engine of this name.

    Raises:
        ConfigurationError: When there is none.
    """
    if name not in _ENGINES:
        names = " or ".join(map(repr, _ENGINES))
        raise ConfigurationError(f"engine {name!r} is not {names}")
    return _ENGINES[name]
