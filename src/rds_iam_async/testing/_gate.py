"""The IAM gate: asks for a token where RDS would, and then gets out of the way.

The database server behind it always has its say first: it knows who is an IAM user.
What is spoken at the gate until then, each engine has in a module of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .._token import Endpoint
from ._claims import Refused
from ._faults import Faults
from ._login_log import Login, LoginLog, Outcome
from ._pipe import Pipe
from ._verifier import Verifier
from ._wire import WireError

# PostgreSQL's authentication_timeout.
LOGIN_TIMEOUT = 60.0

# The client's end, and the server's.
Session = tuple[Pipe, Pipe]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What all visits have in common.

    Attributes:
        log_in: Leads a visitor to a session, in the words of one engine. `None`: he
            was turned away, and knows it.
        tls: The server's certificate and key.
        host: The name that a token has to be signed for.
        port: And the port.
        region: And the region.
        verifier: Who judges it.
        faults: What is to go wrong.
        log: What became of each login.
    """

    log_in: Callable[[Visit], Awaitable[Session | None]]
    tls: ssl.SSLContext
    host: str
    port: int
    region: str
    verifier: Verifier
    faults: Faults
    log: LoginLog

    async def serve(self, client: socket.socket) -> None:
        """Serve one connection until it ends."""
        await Visit(self, client).serve()


class Visit:
    """One connection, from its first byte to its last.

    Attributes:
        socket: The client, until one of `speak_tls` and `speak_clear` is called.
        user: The database user, once he is known.
        tls: The server's certificate and key.
        pipes: All ends that are open; each is closed in the end.
        undo: What else has to be closed.
    """

    def __init__(self, gate: Gate, client: socket.socket) -> None:
        self.socket = client
        self.user = ""
        self.tls = gate.tls
        self.pipes: list[Pipe] = []
        self.undo = contextlib.ExitStack()
        self._gate = gate
        self._write = gate.log.begin()
        self._client: Pipe | None = None

    async def serve(self) -> None:
        """Serve it."""
        try:
            try:
                await self._let_in()
            except (EOFError, OSError, WireError) as error:  # OSError: TLS, time-outs
                self.note("dropped", str(error) or type(error).__name__)
            for pipe in self.pipes:
                pipe.close()
            await self._gone()
        finally:  # cancelled, by the end of it all
            for pipe in self.pipes:
                if not pipe.closed.done():
                    pipe.transport.abort()
            await self._gone()
            self.undo.close()

    async def client(self, *, tls: bool = True) -> Pipe:
        """Return the client's end, behind TLS or not: `socket` is its from now on."""
        self._client = client = Pipe()
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: client, self.socket, ssl=self.tls if tls else None
        )
        self.pipes.append(client)
        return client

    async def admits(self, token: str) -> bool:
        """Judge a token, and tell what the client is to be told now."""
        await self.suffer()
        try:
            access_key_id = self._judge(token)
        except Refused as refusal:
            await self._until(refusal.not_before)
            self.note("denied", refusal.reason, refusal.access_key_id)
            return False
        self.note("accepted", "the token is good", access_key_id)
        return True

    async def suffer(self) -> None:
        """Let happen, just before the answer, what a test has asked for."""
        await asyncio.sleep(self._gate.faults.delay)
        if self._client is not None and self._gate.faults.reset.take():
            client = self._client.transport
            # Closing a socket that does not linger sends RST instead of FIN (socket(7)).
            client.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            client.abort()
            raise EOFError("told to reset")

    def note(self, outcome: Outcome, reason: str, access_key_id: str | None = None) -> None:
        """Write to the log."""
        self._write(
            Login(
                at=self._gate.faults.wall(),
                user=self.user,
                outcome=outcome,
                reason=reason,
                access_key_id=access_key_id,
            )
        )

    async def _let_in(self) -> None:
        async with asyncio.timeout(LOGIN_TIMEOUT + self._gate.faults.delay):
            session = await self._gate.log_in(self)
        if session is not None:
            client, server = session
            client.join(server)
            await self._gone()

    async def _gone(self) -> None:
        if self.pipes:
            await asyncio.wait([pipe.closed for pipe in self.pipes])

    def _judge(self, token: str) -> str:
        gate = self._gate
        if gate.faults.refuse.take():
            raise Refused("told to refuse")
        endpoint = Endpoint(host=gate.host, port=gate.port, user=self.user, region=gate.region)
        return gate.verifier.check(token, endpoint, now=gate.faults.wall())

    async def _until(self, instant: float) -> None:
        # A test that brings its own time moves it when it likes, which nobody can wait for.
        if self._gate.faults.wall is not time.time:
            return
        while (left := instant - time.time()) > 0:  # noqa: ASYNC110 - nobody sets wall time
            await asyncio.sleep(left)
