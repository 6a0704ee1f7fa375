"""A database server that is thrown away: a private directory, gone with its owner."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .._errors import RdsIamError
from . import _reaper
from ._unprivileged import shared_directory, unprivileged


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the reaper is to run.

    Attributes:
        prepare: The command that makes the data directory.
        script: The file that it reads as its standard input, if any.
        serve: The command that is the server.
        greeter: The Unix socket that the server speaks first on; without one it is
            PostgreSQL, which says in a file that it is ready.
        restart: The signal that ends sessions politely.
        end: The signal that ends it at once.
    """

    prepare: Sequence[str]
    script: str | None = None
    serve: Sequence[str]
    greeter: str | None = None
    restart: str
    end: str


class ServerProcess:
    """One server program and its files, from `prepare` to `stop`.

    Attributes:
        name: What to call it in errors.
        user: Who it runs as, or `None` when that is ourselves.
        directory: Where all its files are, and nothing else.
        socket_directory: Where its Unix socket is.
        key_file: Its certificate and key, there to be filled before `start`.
    """

    def __init__(self, name: str, *, hint: str) -> None:
        self.name = name
        self.user = unprivileged()
        self.directory = shared_directory(self.user) / f"rds-iam-{secrets.token_hex(8)}"
        self.socket_directory = self.directory / "s"
        self._hint = hint
        self._restarting = threading.Lock()
        # First who cleans up, then what has to be cleaned up.
        self._process = self._spawn_reaper()
        try:
            for directory in (self.directory, self.socket_directory):
                directory.mkdir(mode=0o700)
                self.give_away(directory)
            self.key_file = self.write("server.pem")
        except BaseException:
            self.stop()
            raise

    def write(self, name: str, text: str = "") -> Path:
        """Make a file that the server, and nobody else, may read."""
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(text)
        self.give_away(path)
        return path

    def give_away(self, path: Path) -> None:
        """Let the server have *path*."""
        if self.user is not None:
            os.chown(path, self.user.uid, self.user.gid)

    def prepare(self, plan: Plan) -> None:
        """Make the data directory; do not wait for it."""
        user = {"uid": self.user and self.user.uid, "gid": self.user and self.user.gid}
        self._tell(f"{json.dumps(asdict(plan) | user)}\n".encode())

    def start(self) -> None:
        """Start it once it is prepared; do not wait for it."""
        self._tell(b"s")

    def wait_until_ready(self) -> None:
        """Block until it accepts connections.

        Raises:
            RdsIamError: When it does not start, with the end of its log.
        """
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            log = (self.directory / "log").read_text(errors="replace")
            raise RdsIamError(
                f"{self.name} did not start. The end of its log:\n{log[-2000:]}", hint=self._hint
            )

    def restart(self) -> None:
        """End all sessions as a failover does, and block until it accepts new ones."""
        with self._restarting:
            self.start()
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


# What would configure a server behind our back: PGDATA, MYSQL_HOME, MARIADB_HOME.
_FOREIGN = ("PG", "MYSQL", "MARIADB")


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
