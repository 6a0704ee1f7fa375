"""The IAM gate: ends TLS, asks for a token, and then gets out of the way.

It opens the PostgreSQL session first and lets pg_hba.conf decide. Where the server
would trust the user (members of rds_iam), the gate asks for a token before it passes
that on; where the server asks for a password itself, the gate only joins the two.
So `GRANT rds_iam TO app` means what it means on RDS, password users work beside IAM
users, and what PostgreSQL has to say comes from PostgreSQL.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from dataclasses import dataclass

from .._token import Endpoint
from . import _wire
from ._claims import Refused
from ._faults import Faults
from ._login_log import Login, LoginLog, Outcome
from ._pipe import Pipe
from ._preamble import read_preamble
from ._verifier import Verifier

# PostgreSQL's authentication_timeout.
LOGIN_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What all visits have in common.

    Attributes:
        upstream: The path of PostgreSQL's Unix socket.
        tls: The server's certificate and key.
        host: The name that a token has to be signed for.
        port: And the port.
        region: And the region.
        verifier: Who judges it.
        faults: What is to go wrong.
        log: What became of each login.
    """

    upstream: str
    tls: ssl.SSLContext
    host: str
    port: int
    region: str
    verifier: Verifier
    faults: Faults
    log: LoginLog

    async def serve(self, client: socket.socket) -> None:
        """Serve one connection until it ends."""
        await _Visit(self, client).serve()


class _Visit:
    """One connection, from its first byte to its last."""

    def __init__(self, gate: Gate, client: socket.socket) -> None:
        self._gate = gate
        self._socket = client
        self._user = ""
        self._pipes: list[Pipe] = []

    async def serve(self) -> None:
        try:
            try:
                await self._let_in()
            except (EOFError, OSError, _wire.WireError) as error:  # OSError: TLS, time-outs
                self._note("dropped", str(error) or type(error).__name__)
            for pipe in self._pipes:
                pipe.close()
            await self._gone()
        finally:  # cancelled, by the end of it all
            for pipe in self._pipes:
                if not pipe.closed.done():
                    pipe.transport.abort()
            await self._gone()

    async def _gone(self) -> None:
        if self._pipes:
            await asyncio.wait([pipe.closed for pipe in self._pipes])

    async def _let_in(self) -> None:
        async with asyncio.timeout(LOGIN_TIMEOUT + self._gate.faults.delay):
            client = await self._secured()
            server = await self._login(client) if client else None
        if client and server:
            client.join(server)
            await self._gone()

    async def _secured(self) -> Pipe | None:
        """Return the client behind TLS, or `None` when it wanted no TLS and is done."""
        loop = asyncio.get_running_loop()
        packet = await read_preamble(self._socket)
        if packet is None:
            client = Pipe()
            await loop.connect_accepted_socket(lambda: client, self._socket, ssl=self._gate.tls)
            self._pipes.append(client)
            return client
        if packet.is_cancel:  # libpq up to 16 sends it in the clear
            await self._cancel(packet.header + packet.body)
            return None
        asked = _wire.startup_parameters(packet.body)
        self._user = asked.get("user", "")
        self._note("plaintext", "no TLS")
        text = (
            f'pg_hba.conf rejects connection for host "{self._socket.getpeername()[0]}", '
            f'user "{self._user}", database "{asked.get("database", self._user)}", no encryption'
        )
        await loop.sock_sendall(self._socket, _wire.error_response("28000", text))
        return None

    async def _login(self, client: Pipe) -> Pipe | None:
        """Return the PostgreSQL session that the client has been let into, if any."""
        header = await client.read(8)
        length, code = _wire.startup_header(header)
        body = await client.read(length)
        if code == _wire.CANCEL_REQUEST:  # asyncpg, and libpq from 17 on
            await self._cancel(header + body)
            return None
        if not _wire.is_startup(code):
            raise _wire.WireError("not a login")
        self._user = _wire.startup_parameters(body).get("user", "")
        server = await self._open_session(client, header + body)
        if server is None:
            return None
        answer = await server.read_message()
        if answer[:1] == _wire.NEGOTIATE_VERSION:
            client.transport.write(answer)
            answer = await server.read_message()
        if answer == _wire.AUTHENTICATION_OK:
            if not await self._admit(client):
                return None
        else:
            await self._suffer()
        client.transport.write(answer)
        return server

    async def _admit(self, client: Pipe) -> bool:
        """Ask for a token and judge it."""
        client.transport.write(_wire.CLEARTEXT_PASSWORD_REQUEST)
        token = _wire.password(await client.read_message())
        await self._suffer()
        try:
            access_key_id = self._judge(token)
        except Refused as refusal:
            await _until(refusal.not_before)
            self._note("denied", refusal.reason, refusal.access_key_id)
            text = f'PAM authentication failed for user "{self._user}"'
            client.transport.write(_wire.error_response("28000", text))
            return False
        self._note("accepted", "the token is good", access_key_id)
        return True

    def _judge(self, token: str) -> str:
        gate = self._gate
        if gate.faults.refuse.take():
            raise Refused("told to refuse")
        endpoint = Endpoint(host=gate.host, port=gate.port, user=self._user, region=gate.region)
        return gate.verifier.check(token, endpoint, now=time.time())

    async def _suffer(self) -> None:
        """Let happen, just before the answer, what a test has asked for."""
        await asyncio.sleep(self._gate.faults.delay)
        if self._gate.faults.reset.take():
            client = self._pipes[0].transport
            # Closing a socket that does not linger sends RST instead of FIN (socket(7)).
            client.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            client.abort()
            raise EOFError("told to reset")

    async def _open_session(self, client: Pipe, startup: bytes) -> Pipe | None:
        try:
            server = await self._dial()
        except OSError:
            self._note("dropped", "PostgreSQL does not run")
            text = "the database system is starting up"
            client.transport.write(_wire.error_response("57P03", text))
            return None
        server.transport.write(startup)
        return server

    async def _dial(self) -> Pipe:
        loop = asyncio.get_running_loop()
        _, server = await loop.create_unix_connection(Pipe, self._gate.upstream)
        self._pipes.append(server)
        return server

    async def _cancel(self, packet: bytes) -> None:
        server = await self._dial()
        server.transport.write(packet)
        with contextlib.suppress(EOFError):
            await server.read(1)  # PostgreSQL hangs up once it has sent the signal.

    def _note(self, outcome: Outcome, reason: str, access_key_id: str | None = None) -> None:
        self._gate.log.append(
            Login(
                at=time.time(),
                user=self._user,
                outcome=outcome,
                reason=reason,
                access_key_id=access_key_id,
            )
        )


async def _until(instant: float) -> None:
    while (left := instant - time.time()) > 0:  # noqa: ASYNC110 - nobody sets wall time
        await asyncio.sleep(left)
