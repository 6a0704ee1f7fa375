"""What runs while a local RDS is up: a server, the gate before it, and the gate's thread."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Coroutine
from typing import Any

from .._errors import ConfigurationError
from .._loop_thread import LoopThread
from ._certificate import issue_certificate
from ._engines import Engine
from ._faults import Faults
from ._gate import Gate
from ._listener import Listener
from ._login_log import LoginLog
from ._verifier import Verifier


class Stack:
    """All of it, from the constructor to `stop`.

    Attributes:
        port: Where the gate listens.
        ca_file: The certificate authority behind the gate's certificate.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        host: str,
        port: int,
        region: str,
        verifier: Verifier,
        faults: Faults,
        log: LoginLog,
    ) -> None:
        self._owner = os.getpid()
        with contextlib.ExitStack() as undo:
            self._server = engine.server()
            self._process = self._server.process
            undo.callback(self._process.stop)
            # Made while the server is being prepared.
            certificate = self._process.directory / "ca.pem"
            tls = issue_certificate(host, ca_file=certificate, key_file=self._process.key_file)
            self.ca_file = str(certificate)
            self._process.start()
            self._listener = Listener(port)
            undo.callback(self._listener.release)
            self.port = self._listener.port
            self._thread = LoopThread("local-rds")
            undo.callback(self._thread.stop)
            self._process.wait_until_ready()
            self._gate = Gate(
                log_in=self._server.log_in,
                tls=tls,
                host=host,
                port=self.port,
                region=region,
                verifier=verifier,
                faults=faults,
                log=log,
            )
            self._undo = undo.pop_all()

    def open(self) -> None:
        """Let clients in."""
        self._run(self._listener.open(self._gate.serve))

    def pause(self) -> None:
        """Refuse connections."""
        self._run(self._listener.pause())

    def resume(self) -> None:
        """Let clients in again."""
        self._run(self._listener.resume())

    def restart(self) -> None:
        """Restart the server."""
        self._process.restart()

    def execute(self, database: str, *statements: str) -> None:
        """Run each of *statements* as superuser, past the gate."""
        self._run(self._server.execute(database, *statements))

    def stop(self) -> None:
        """End it all and erase its files."""
        # In a forked child neither the thread nor the processes are ours.
        if self._owner == os.getpid():
            with self._undo:
                self._run(self._listener.close())

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._owner != os.getpid():
            coroutine.close()
            raise ConfigurationError(
                "this local RDS belongs to the process that forked this one",
                hint="connect to it as a client, or start another one here",
            )
        self._thread.run(coroutine)
