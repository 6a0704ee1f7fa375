"""Run a database server for an owner, and leave nothing behind however the owner ends.

This is a program: a child of the owner, which holds the other end of its standard
input. It is started with the name of a directory that it will erase, before that is
made. The first line it reads is the plan (`_server_process.Plan`), which it prepares;
each further byte asks for a start, or a restart; the end, which also comes when the
owner is killed, asks for the end of it all. What it has to say stands in its standard
output, one word a line: `ready` or `failed`.

It imports nothing of this package, to start fast and with any interpreter flags.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 5.0
_LOOK_MS = 5


class Server:
    """The database server in *directory*."""

    def __init__(self, directory: Path, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def initialise(self) -> bool:
        """Make the data directory; tell whether that worked."""
        with open(self._plan["script"] or os.devnull, "rb") as script:
            process = self._spawn(self._plan["prepare"], script, process_group=0)
        if not wanted_until(lambda: process.poll() is not None):
            os.killpg(process.pid, signal.SIGKILL)  # it has children
        return process.wait() == 0

    def start(self) -> bool:
        """Start and wait until it accepts connections; tell whether it does."""
        process = self._process = self._spawn(self._plan["serve"], subprocess.DEVNULL)
        # A server that listens now tells nobody.
        settled = wanted_until(lambda: process.poll() is not None or self._is_ready(process.pid))
        return settled and process.poll() is None

    def stop(self, how: str) -> None:
        """Stop it with the signal that the plan has for that."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.Signals[self._plan[how]])
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_ready(self, pid: int) -> bool:
        greeter = self._plan["greeter"]
        return self._postmaster_is_ready(pid) if greeter is None else greets(greeter)

    def _postmaster_is_ready(self, pid: int) -> bool:
        # Line 1 is the pid, line 8 the status: src/include/utils/pidfile.h.
        with contextlib.suppress(OSError):
            lines = (self._directory / "data" / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"
        return False

    def _spawn(
        self, command: list[str], stdin: Any, *, process_group: int | None = None
    ) -> subprocess.Popen[bytes]:
        with open(self._directory / "log", "ab") as log:
            return subprocess.Popen(
                command,
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                user=self._plan["uid"],
                group=self._plan["gid"],
                extra_groups=None if self._plan["uid"] is None else [],
                process_group=process_group,
            )


def wanted_until(holds: Callable[[], bool]) -> bool:
    """Wait until *holds*; tell whether that came in time, and the owner lived to see it."""
    deadline = time.monotonic() + _START_TIMEOUT
    owner = select.poll()
    owner.register(0, select.POLLHUP)
    while not holds():
        if owner.poll(_LOOK_MS) or time.monotonic() >= deadline:
            return False
    return True


def greets(path: str) -> bool:
    """Tell whether a server that speaks first does so on its Unix socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_START_TIMEOUT)
        client.connect(path)
        return client.recv(1) != b""
    return False


def run(server: Server) -> None:
    """Keep the server up until the owner closes our standard input."""
    try:
        prepared = server.initialise()
        while os.read(0, 1):
            server.stop("restart")
            say("ready" if prepared and server.start() else "failed")
    finally:
        server.stop("end")


def say(word: str) -> None:
    """Tell the owner, if he is still there."""
    with contextlib.suppress(OSError):
        os.write(1, f"{word}\n".encode())


def main() -> None:
    """Run what the owner plans, and erase its directory in the end."""
    # Ctrl-C is for the owner, who then closes our input.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    directory = Path(sys.argv[1])
    try:
        if plan := _read_line():
            run(Server(directory, json.loads(plan)))
    finally:
        erase(directory)


def erase(directory: Path) -> None:
    """Erase it, and again if a process that is dying made one more file."""
    deadline = time.monotonic() + _STOP_TIMEOUT
    shutil.rmtree(directory, ignore_errors=True)
    while directory.exists() and time.monotonic() < deadline:
        time.sleep(_LOOK_MS / 1000)  # an orphan that dies tells nobody
        shutil.rmtree(directory, ignore_errors=True)


def _read_line() -> bytes:
    line = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line if byte else b""


if __name__ == "__main__":
    main()
