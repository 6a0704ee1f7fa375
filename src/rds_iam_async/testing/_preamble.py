"""What a client says in the clear, before TLS: read to the byte, and no further.

Whatever follows an SSLRequest can then only be taken for TLS, never for a
message that somebody on the way has slipped in (CVE-2021-23214).
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from . import _wire
from ._exactly import read_exactly


@dataclass(frozen=True, slots=True)
class ClearPacket:
    """A complete packet that came without TLS: a cancel request or a login."""

    header: bytes
    body: bytes

    @property
    def is_cancel(self) -> bool:
        """Tell whether it asks for another session's query to be cancelled."""
        return _wire.startup_header(self.header)[1] == _wire.CANCEL_REQUEST


async def read_preamble(client: socket.socket) -> ClearPacket | None:
    """Answer encryption requests until the client speaks TLS.

    Returns:
        `None` when TLS comes next, or what came instead.

    Raises:
        EOFError: When the client has gone.
        WireError: When it does not speak PostgreSQL's protocol.
    """
    loop = asyncio.get_running_loop()
    while await _first_byte(client) != _wire.TLS_HANDSHAKE:
        header = await read_exactly(client, 8)
        length, code = _wire.startup_header(header)
        if code == _wire.SSL_REQUEST:
            await loop.sock_sendall(client, _wire.TLS_ACCEPTED)
            return None
        if code != _wire.GSSENC_REQUEST:
            return ClearPacket(header, await read_exactly(client, length))
        await loop.sock_sendall(client, _wire.GSS_DECLINED)
    return None


async def _first_byte(client: socket.socket) -> int:
    """Look at the next byte and leave it for whoever reads it."""
    while True:
        try:
            data = client.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(client)
        else:
            if not data:
                raise EOFError("the connection was closed before TLS")
            return data[0]


async def _readable(client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(client, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(client)
