"""A real PostgreSQL that is thrown away: no TCP, one Unix socket, gone with its owner."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from typing import Any

from .._errors import RdsIamError
from . import _reaper
from ._binaries import find_binaries, make_reachable
from ._unprivileged import shared_directory, unprivileged

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
    """One server, from `start` to `stop`.

    Attributes:
        directory: Where all its files are, and nothing else.
        socket_directory: Where its Unix socket is.
        password: The superuser's. Nobody else knows it.
    """

    def __init__(self) -> None:
        self._binaries = find_binaries()
        self._user = unprivileged()
        self.password = secrets.token_urlsafe(24)
        self.directory = shared_directory(self._user) / f"rds-iam-{secrets.token_hex(8)}"
        self.socket_directory = self.directory / "s"
        self._restarting = threading.Lock()
        # First who cleans up, then what has to be cleaned up.
        self._process = self._spawn_reaper()
        try:
            self._prepare_directory()
            self._tell(f"{json.dumps(self._plan())}\n".encode())
        except BaseException:
            self.stop()
            raise

    @property
    def socket_path(self) -> str:
        """Return the path of its Unix socket."""
        return str(self.socket_directory / ".s.PGSQL.5432")

    def wait_until_ready(self) -> None:
        """Block until it accepts connections.

        Raises:
            RdsIamError: When it does not start, with the end of its log.
        """
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            log = (self.directory / "log").read_text(errors="replace")
            raise RdsIamError(
                f"PostgreSQL did not start. The end of its log:\n{log[-2000:]}",
                hint=f"try another PostgreSQL than {self._binaries}: let RDS_IAM_PG_BIN name one",
            )

    def restart(self) -> None:
        """End all sessions as a failover does, and block until it accepts new ones."""
        with self._restarting:
            self._tell(b"r")
            self.wait_until_ready()

    def stop(self) -> None:
        """End it at once and erase its files."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _tell(self, message: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(message)

    def _spawn_reaper(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", _reaper.__file__, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=_environment(),
            start_new_session=True,  # out of the reach of Ctrl-C
        )

    def _prepare_directory(self) -> None:
        self.directory.mkdir(mode=0o700)
        self.socket_directory.mkdir(mode=0o700)
        hba_file, password_file = self.directory / "pg_hba.conf", self.directory / "password"
        hba_file.write_text(_HBA)
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if self._user is not None:
            for path in (self.directory, self.socket_directory, hba_file, password_file):
                os.chown(path, self._user.uid, self._user.gid)
            self._binaries = make_reachable(
                self._binaries, self.directory / "copy", is_reachable=self._user.can_run
            )

    def _plan(self) -> dict[str, Any]:
        return {
            "uid": self._user and self._user.uid,
            "gid": self._user and self._user.gid,
            "initdb": self._initdb(),
            "postgres": self._postgres(),
        }

    def _initdb(self) -> list[str]:
        return [
            f"{self._binaries}/initdb",
            f"--pgdata={self.directory}/data",
            f"--username={SUPERUSER}",
            f"--pwfile={self.directory}/password",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]

    def _postgres(self) -> list[str]:
        settings = {
            **_SETTINGS,
            "unix_socket_directories": str(self.socket_directory),
            "hba_file": f"{self.directory}/pg_hba.conf",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [f"{self._binaries}/postgres", "-D", f"{self.directory}/data", *options]


def _environment() -> dict[str, str]:
    """Return the environment without what would configure PostgreSQL behind our back."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
