"""A real MariaDB that is thrown away: no TCP, one Unix socket, gone with its owner."""

from __future__ import annotations

import importlib
import json
import secrets
from typing import Any

from .._errors import ConfigurationError, RdsIamError
from . import _mysql_login
from ._gate import Session, Visit
from ._mariadb_binaries import MARIADB_BIN, find_mariadb
from ._mysql_sql import without_plugin
from ._mysql_wire import native_hash
from ._server_process import Plan, ServerProcess

SUPERUSER = "root"

# Nothing here has to survive a crash, and little is stored.
_SETTINGS = {
    "skip-networking": "1",
    "max-connections": "500",
    "back-log": "500",
    "connect-timeout": "3600",  # the gate has its own
    "max-allowed-packet": "64M",
    "character-set-server": "utf8mb4",
    "log-warnings": "1",  # not every failed login
    "performance-schema": "0",
    "key-buffer-size": "1M",
    "aria-pagecache-buffer-size": "8M",
    "aria-log-file-size": "8M",
    "innodb-buffer-pool-size": "16M",
    "innodb-log-file-size": "4M",
    "innodb-data-file-path": "ibdata1:1M:autoextend",
    "innodb-temp-data-file-path": "ibtmp1:1M:autoextend",
    "innodb-autoextend-increment": "1",
    "innodb-flush-log-at-trx-commit": "0",
    "innodb-flush-method": "fsync",  # tmpfs knows no O_DIRECT
    "innodb-use-native-aio": "0",  # nor do containers know io_uring
    "innodb-doublewrite": "0",
    "innodb-fast-shutdown": "2",
    "innodb-buffer-pool-dump-at-shutdown": "0",
}


class MariaDb:
    """One server; it is being prepared once this is made.

    Its IAM users have a password that only the gate knows (`_mysql_login`).

    Attributes:
        process: Its process and its files.
    """

    def __init__(self) -> None:
        self._installation = find_mariadb()
        # The superuser's. Nobody else knows it.
        self._password = secrets.token_urlsafe(24)
        self._gate_password = secrets.token_urlsafe(24)
        hint = f"try another than {self._installation.server}: let {MARIADB_BIN} name one"
        self.process = ServerProcess("MariaDB", hint=hint)
        try:
            self.process.prepare(self._plan())
        except BaseException:
            self.process.stop()
            raise

    async def execute(self, database: str, *statements: str) -> None:
        """Run each of *statements* as superuser, past the gate."""
        connection = await _asyncmy().connect(
            unix_socket=self._socket_path,
            user=SUPERUSER,
            password=self._password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
        )
        password_hash = native_hash(self._gate_password.encode())
        try:
            async with connection.cursor() as cursor:
                for statement in statements:
                    await cursor.execute(without_plugin(statement, password_hash=password_hash))
                    while await cursor.nextset():
                        pass
        finally:
            await connection.ensure_closed()

    async def log_in(self, visit: Visit) -> Session | None:
        """Lead a visitor of the gate to a session, if any."""
        return await _mysql_login.log_in(visit, self._socket_path, self._gate_password.encode())

    @property
    def _socket_path(self) -> str:
        return f"{self.process.socket_directory}/mariadb.sock"

    def _plan(self) -> Plan:
        user, server = self.process.user, self._installation.server
        if user is not None and not user.can_run(server):
            raise RdsIamError(
                f"a user other than root, as whom MariaDB is to run, cannot run {server}",
                hint=f"let {MARIADB_BIN} name one that every user can run",
            )
        for name in ("data", "tmp"):
            (self.process.directory / name).mkdir(mode=0o700)
            self.process.give_away(self.process.directory / name)
        command = [str(server), *self._options()]
        return Plan(
            prepare=[*command, "--bootstrap"],
            script=str(self.process.write("bootstrap.sql", self._bootstrap())),
            serve=[*command, f"--socket={self._socket_path}", *self._tls_options()],
            greeter=self._socket_path,
            restart="SIGTERM",
            end="SIGKILL",
        )

    def _bootstrap(self) -> str:
        """Return what mariadb-install-db does, as far as it is needed here."""
        root = {
            "access": (1 << 64) - 1,
            "plugin": "mysql_native_password",
            "authentication_string": native_hash(self._password.encode()),
        }
        return (
            "CREATE DATABASE mysql;\nUSE mysql;\n"
            f"{self._installation.tables.read_text()}\n"
            f"REPLACE INTO global_priv VALUES ('localhost', '{SUPERUSER}', '{json.dumps(root)}');\n"
        )

    def _options(self) -> list[str]:
        settings = {
            "datadir": f"{self.process.directory}/data",
            # Two that start at once in /tmp would take each other's temporary tables away.
            "tmpdir": f"{self.process.directory}/tmp",
            "pid-file": f"{self.process.directory}/pid",
            "lc-messages-dir": str(self._installation.share),
            "character-sets-dir": f"{self._installation.share}/charsets",
            **_SETTINGS,
        }
        # First of all: not what a MariaDB of this machine is configured to.
        return ["--no-defaults", *(f"--{name}={value}" for name, value in settings.items())]

    def _tls_options(self) -> list[str]:
        key_file = self.process.key_file
        return [f"--ssl-cert={key_file}", f"--ssl-key={key_file}"]


def _asyncmy() -> Any:
    """Return the driver, whose stubs do not say what most things are."""
    try:
        return importlib.import_module("asyncmy")
    except ImportError as error:
        raise ConfigurationError(
            "asyncmy is not installed", hint="pip install 'rds-iam-async[mysql]'"
        ) from error
