"""Read what comes before TLS to the byte: the next one may belong to TLS."""

from __future__ import annotations

import asyncio
import socket


async def read_exactly(client: socket.socket, count: int) -> bytes:
    """Return *count* bytes, and leave those that follow in the socket.

    Raises:
        EOFError: When the connection ends before they have come.
    """
    received = b""
    while len(received) < count:
        data = await asyncio.get_running_loop().sock_recv(client, count - len(received))
        if not data:
            raise EOFError("the connection was closed before TLS")
        received += data
    return received
