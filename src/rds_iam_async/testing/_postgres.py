"""A real PostgreSQL that is thrown away: no TCP, one Unix socket, gone with its owner."""

from __future__ import annotations

import secrets

import asyncpg

from . import _postgres_login
from ._binaries import PG_BIN, find_binaries, make_reachable
from ._gate import Session, Visit
from ._server_process import Plan, ServerProcess

SUPERUSER = "postgres"

# Members of rds_iam are let in because the gate, the only way in, asks them for a
# token. Everybody else needs a password, the superuser too: the gate passes his
# logins on like any other's.
_HBA = """\
local all +rds_iam trust
local all all scram-sha-256
"""

# Nothing here has to survive a crash.
_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "log_min_messages": "warning",
    # No statement in the log: one may carry a password.
    "log_min_error_statement": "panic",
}


class Postgres:
    """One server; it is being prepared once this is made.

    Attributes:
        process: Its process and its files.
    """

    def __init__(self) -> None:
        self._binaries = find_binaries()
        # The superuser's. Nobody else knows it.
        self._password = secrets.token_urlsafe(24)
        self.process = ServerProcess(
            "PostgreSQL",
            hint=f"try another PostgreSQL than {self._binaries}: let {PG_BIN} name one",
        )
        try:
            self.process.prepare(self._plan())
        except BaseException:
            self.process.stop()
            raise

    async def execute(self, database: str, *statements: str) -> None:
        """Run each of *statements* as superuser, past the gate."""
        connection = await asyncpg.connect(
            host=str(self.process.socket_directory),
            port=5432,
            user=SUPERUSER,
            password=self._password,
            database=database,
            ssl=False,
        )
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def log_in(self, visit: Visit) -> Session | None:
        """Lead a visitor of the gate to a session, if any."""
        socket_path = f"{self.process.socket_directory}/.s.PGSQL.5432"
        return await _postgres_login.log_in(visit, socket_path)

    def _plan(self) -> Plan:
        self.process.write("pg_hba.conf", _HBA)
        self.process.write("password", self._password)
        if self.process.user is not None:
            self._binaries = make_reachable(
                self._binaries,
                self.process.directory / "copy",
                is_reachable=self.process.user.can_run,
            )
        return Plan(prepare=self._initdb(), serve=self._postgres(), restart="SIGINT", end="SIGQUIT")

    def _initdb(self) -> list[str]:
        return [
            f"{self._binaries}/initdb",
            f"--pgdata={self.process.directory}/data",
            f"--username={SUPERUSER}",
            f"--pwfile={self.process.directory}/password",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]

    def _postgres(self) -> list[str]:
        settings = {
            **_SETTINGS,
            "unix_socket_directories": str(self.process.socket_directory),
            "hba_file": f"{self.process.directory}/pg_hba.conf",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [f"{self._binaries}/postgres", "-D", f"{self.process.directory}/data", *options]
