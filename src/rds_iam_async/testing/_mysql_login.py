"""How a client of MariaDB comes to a session at the gate.

Before it asks for anything, the gate asks MariaDB who is an IAM user: it is who can
log in with a password that only the gate knows (`_mysql_sql.without_plugin`). Such a
user is asked for a token, and logged in with that password when the token is good;
everybody else's login is passed on as it came, and the two are only joined. Where the
client asks the gate for TLS, the gate asks the server. So packets keep their numbers,
`REQUIRE SSL` means what it means on RDS, and what a user may do is for MariaDB to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass

from . import _mysql_wire as wire
from ._exactly import read_exactly
from ._gate import Session, Visit
from ._pipe import Pipe

_CAPABILITIES = wire.PROTOCOL_41 | wire.SECURE_CONNECTION | wire.PLUGIN_AUTH

# The server's certificate is the gate's own, and its socket in a directory of ours.
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_TLS.check_hostname = False
_TLS.verify_mode = ssl.CERT_NONE

_GONE = wire.error(1053, "08S01", "Server shutdown in progress")
_TOO_OLD = wire.error(
    1251,
    "08004",
    "Client does not support authentication protocol requested by server; "
    "consider upgrading MySQL client",
)


class _Unavailable(Exception):
    """The server takes no more connections, or does not run.

    Attributes:
        reason: For the log.
        body: What the client is told.
    """

    def __init__(self, reason: str, body: bytes) -> None:
        super().__init__(reason)
        self.reason = reason
        self.body = body


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    """A client that has said who it is.

    Attributes:
        client: Its end.
        tls: Whether it speaks TLS.
        sequence: The number of its login packet.
        packet: That packet.
        login: What it says.
    """

    client: Pipe
    tls: bool
    sequence: int
    packet: bytes
    login: wire.LoginPacket

    def answer(self, sequence: int, body: bytes) -> None:
        """Tell it *body*, in answer to the packet of this number."""
        self.client.transport.write(wire.packet(sequence + 1, body))


async def log_in(visit: Visit, upstream: str, password: bytes) -> Session | None:
    """Lead *visit* to a session, if any.

    Args:
        visit: Who comes.
        upstream: The path of MariaDB's Unix socket.
        password: That of all IAM users.
    """
    loop = asyncio.get_running_loop()
    try:
        server, greeting = await _dial(visit, upstream)
    except _Unavailable as error:
        visit.note("dropped", error.reason)
        await loop.sock_sendall(visit.socket, wire.packet(0, error.body))
        return None
    await loop.sock_sendall(visit.socket, wire.packet(0, greeting))
    arrival = await _arrive(visit)
    try:
        is_iam_user = await _is_iam_user(visit, upstream, arrival.login, password)
    except _Unavailable as error:
        visit.note("dropped", error.reason)
        arrival.answer(arrival.sequence, error.body)
        return None
    if not is_iam_user:
        return await _pass_on(visit, arrival, server)
    sequence = await _admit(visit, arrival)
    if sequence is None:
        return None
    login = arrival.login.proving(password, wire.challenge(greeting))
    session = await _open(visit, server, login, wire.packet(2, login.body()), tls=True)
    _, answer = await _read(session)
    arrival.answer(sequence, answer)
    return arrival.client, session


async def _arrive(visit: Visit) -> _Arrival:
    """Hear who the client is, behind TLS if it wants that."""
    length, sequence = wire.packet_header(await read_exactly(visit.socket, 4))
    body = await read_exactly(visit.socket, length)
    tls = wire.is_ssl_request(body)
    client = await visit.client(tls=tls)
    if tls:
        sequence, body = await _read(client)
    login = wire.login_packet(body)
    visit.user = login.user_name
    packet = wire.packet(sequence, body)
    return _Arrival(client=client, tls=tls, sequence=sequence, packet=packet, login=login)


async def _is_iam_user(
    visit: Visit, upstream: str, login: wire.LoginPacket, password: bytes
) -> bool:
    """Ask MariaDB, on a connection of its own: the one at hand is for the client's login."""
    if not login.user_name:  # nobody's token can name him
        return False
    server, greeting = await _dial(visit, upstream)
    question = wire.LoginPacket(
        capabilities=_CAPABILITIES, settings=login.settings, user=login.user, proof=b""
    )
    question = question.proving(password, wire.challenge(greeting))
    pipe = await _open(visit, server, question, wire.packet(2, question.body()), tls=True)
    _, answer = await _read(pipe)
    pipe.transport.write(wire.packet(0, wire.QUIT))
    # Until it hangs up the server counts this session (MAX_USER_CONNECTIONS).
    with contextlib.suppress(EOFError):
        await pipe.read(1)
    pipe.close()
    # Whatever else it says against the user, it says after it has found the password right.
    return answer[0] == wire.OK or (answer[0] == wire.ERR and not wire.is_denial(answer))


async def _pass_on(visit: Visit, arrival: _Arrival, server: socket.socket) -> Session:
    """Let the server judge a login, in as many packets as that takes."""
    session = await _open(visit, server, arrival.login, arrival.packet, tls=arrival.tls)
    sequence, answer = await _read(session)
    await visit.suffer()
    arrival.client.transport.write(wire.packet(sequence, answer))
    return arrival.client, session


async def _admit(visit: Visit, arrival: _Arrival) -> int | None:
    """Ask for a token and judge it.

    Returns:
        The number of the packet that a good one came in, or `None`.
    """
    sequence = arrival.sequence
    if not arrival.tls:
        visit.note("plaintext", "no TLS")
    elif not arrival.login.capabilities & wire.PLUGIN_AUTH:
        visit.note("dropped", "a client that cannot be asked for a token")
        arrival.answer(sequence, _TOO_OLD)
        return None
    else:
        arrival.answer(sequence, wire.CLEAR_PASSWORD_REQUEST)
        sequence, body = await _read(arrival.client)
        if await visit.admits(wire.token(body)):
            return sequence
    text = f"Access denied for user '{visit.user}'@'localhost' (using password: YES)"
    arrival.answer(sequence, wire.error(1045, "28000", text))
    return None


async def _dial(visit: Visit, upstream: str) -> tuple[socket.socket, bytes]:
    """Return a connection to the server, and its greeting.

    Raises:
        _Unavailable: When there is none to be had.
    """
    server = socket.socket(socket.AF_UNIX)
    visit.undo.callback(server.close)
    server.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(server, upstream)
        length, _ = wire.packet_header(await read_exactly(server, 4))
        greeting = await read_exactly(server, length)
    except (OSError, EOFError):
        raise _Unavailable("MariaDB does not run", _GONE) from None
    if greeting[0] == wire.ERR:
        raise _Unavailable("MariaDB takes no more connections", greeting)
    return server, greeting


async def _open(
    visit: Visit, server: socket.socket, login: wire.LoginPacket, packet: bytes, *, tls: bool
) -> Pipe:
    """Say to the server who comes, behind TLS or not."""
    loop = asyncio.get_running_loop()
    if tls:
        await loop.sock_sendall(server, wire.packet(1, login.ssl_request))
    _, pipe = await loop.create_unix_connection(
        Pipe, sock=server, ssl=_TLS if tls else None, server_hostname="" if tls else None
    )
    visit.pipes.append(pipe)
    pipe.transport.write(packet)
    return pipe


async def _read(pipe: Pipe) -> tuple[int, bytes]:
    """Return one packet's number and body."""
    length, sequence = wire.packet_header(await pipe.read(4))
    return sequence, await pipe.read(length)
