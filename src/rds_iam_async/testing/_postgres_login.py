"""How a client of PostgreSQL comes to a session at the gate.

The gate opens the PostgreSQL session first and lets pg_hba.conf decide. Where the
server would trust the user (members of rds_iam), the gate asks for a token before it
passes that on; where the server asks for a password itself, the gate only joins the
two. So `GRANT rds_iam TO app` means what it means on RDS, password users work beside
IAM users, and what PostgreSQL has to say comes from PostgreSQL.
"""

from __future__ import annotations

import asyncio
import contextlib

from . import _wire
from ._gate import Session, Visit
from ._pipe import Pipe
from ._preamble import read_preamble


async def log_in(visit: Visit, upstream: str) -> Session | None:
    """Lead *visit* to a session of the PostgreSQL at *upstream*, if any."""
    client = await _secured(visit, upstream)
    if client is None:
        return None
    startup = await _startup(visit, client, upstream)
    if startup is None:
        return None
    server = await _open_session(visit, client, upstream)
    if server is None:
        return None
    server.transport.write(startup)
    answer = await server.read_message()
    if answer[:1] == _wire.NEGOTIATE_VERSION:
        client.transport.write(answer)
        answer = await server.read_message()
    if answer == _wire.AUTHENTICATION_OK:
        if not await _admit(visit, client):
            return None
    else:
        await visit.suffer()
    client.transport.write(answer)
    return client, server


async def _secured(visit: Visit, upstream: str) -> Pipe | None:
    """Return the client behind TLS, or `None` when it wanted no TLS and is done."""
    packet = await read_preamble(visit.socket)
    if packet is None:
        return await visit.client()
    if packet.is_cancel:  # libpq up to 16 sends it in the clear
        await _cancel(visit, upstream, packet.header + packet.body)
        return None
    asked = _wire.startup_parameters(packet.body)
    visit.user = asked.get("user", "")
    visit.note("plaintext", "no TLS")
    text = (
        f'pg_hba.conf rejects connection for host "{visit.socket.getpeername()[0]}", '
        f'user "{visit.user}", database "{asked.get("database", visit.user)}", no encryption'
    )
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(visit.socket, _wire.error_response("28000", text))
    return None


async def _startup(visit: Visit, client: Pipe, upstream: str) -> bytes | None:
    """Return the login that the client asks for, or `None` when it cancels a query."""
    header = await client.read(8)
    length, code = _wire.startup_header(header)
    body = await client.read(length)
    if code == _wire.CANCEL_REQUEST:  # asyncpg, and libpq from 17 on
        await _cancel(visit, upstream, header + body)
        return None
    if not _wire.is_startup(code):
        raise _wire.WireError("not a login")
    visit.user = _wire.startup_parameters(body).get("user", "")
    return header + body


async def _open_session(visit: Visit, client: Pipe, upstream: str) -> Pipe | None:
    try:
        return await _dial(visit, upstream)
    except OSError:
        visit.note("dropped", "PostgreSQL does not run")
        text = "the database system is starting up"
        client.transport.write(_wire.error_response("57P03", text))
        return None


async def _admit(visit: Visit, client: Pipe) -> bool:
    """Ask for a token and judge it."""
    client.transport.write(_wire.CLEARTEXT_PASSWORD_REQUEST)
    token = _wire.password(await client.read_message())
    if await visit.admits(token):
        return True
    text = f'PAM authentication failed for user "{visit.user}"'
    client.transport.write(_wire.error_response("28000", text))
    return False


async def _cancel(visit: Visit, upstream: str, packet: bytes) -> None:
    server = await _dial(visit, upstream)
    server.transport.write(packet)
    with contextlib.suppress(EOFError):
        await server.read(1)  # PostgreSQL hangs up once it has sent the signal.


async def _dial(visit: Visit, upstream: str) -> Pipe:
    _, server = await asyncio.get_running_loop().create_unix_connection(Pipe, upstream)
    visit.pipes.append(server)
    return server
