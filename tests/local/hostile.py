"""Servers that want a token and do not deserve it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trustme

_SSL_REQUEST = b"\x04\xd2\x16\x2f"
_CLEARTEXT_PASSWORD = b"R\0\0\0\x08\0\0\0\x03"
_CLIENT_SSL = 0x800
_CAPABILITIES = 0x1 | 0x8 | 0x200 | 0x8000 | 0x80000
"""CLIENT_LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH."""


_SSL_REQUEST_SIZE = 32
"""Of MySQL's; a login is longer."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class HostileServer:
    """Asks for a cleartext password, and keeps what it is sent from then on.

    Args:
        tls: What it shows to those who want TLS; `None` when it offers none.
        protocol: `postgresql` or `mysql`.
    """

    def __init__(self, tls: ssl.SSLContext | None, *, protocol: str = "postgresql") -> None:
        self.tls = tls
        self.connections = 0
        self.received = b""
        self.was_told = asyncio.Event()
        self.port = 0
        self._serving: list[asyncio.Future[None]] = []
        self._ask = {"postgresql": self._ask_as_postgresql, "mysql": self._ask_as_mysql}[protocol]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[HostileServer]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            self.port = listener.getsockname()[1]
            accepting = asyncio.ensure_future(self._accept(listener))
            try:
                yield self
            finally:
                accepting.cancel()
                await asyncio.gather(accepting, *self._serving, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        try:
            while True:
                client, _ = await asyncio.get_running_loop().sock_accept(listener)
                self._serving.append(asyncio.ensure_future(self._serve(client)))
        finally:
            for one in self._serving:
                one.cancel()

    async def _serve(self, client: socket.socket) -> None:
        self.connections += 1
        # A bare socket, because what follows a wish for TLS must not be read too early.
        with client:
            try:
                reader, writer = await self._ask(client)
            except (OSError, asyncio.IncompleteReadError):
                return  # the client went away, as it should
            try:
                while chunk := await reader.read(65536):
                    self.received += chunk
                    self.was_told.set()
            except OSError:
                pass
            finally:
                writer.close()

    async def _ask_as_postgresql(self, client: socket.socket) -> Streams:
        first = await _exactly(client, 8)
        tls = None
        if first[4:] == _SSL_REQUEST:
            tls = self.tls
            await _send(client, b"N" if tls is None else b"S")
            if tls is None:
                first = await _exactly(client, 8)
        reader, writer = await _streams(client, tls)
        with _closed_on_error(writer):
            if tls is not None:
                first = await reader.readexactly(8)
            await reader.readexactly(int.from_bytes(first[:4], "big") - 8)
        writer.write(_CLEARTEXT_PASSWORD)
        return reader, writer

    async def _ask_as_mysql(self, client: socket.socket) -> Streams:
        offered = _CAPABILITIES | (0 if self.tls is None else _CLIENT_SSL)
        await _send(client, _packet(0, _greeting(offered)))
        head = await _exactly(client, 4)
        size = int.from_bytes(head[:3], "little")
        await _exactly(client, size)
        wants_tls = self.tls is not None and size == _SSL_REQUEST_SIZE
        reader, writer = await _streams(client, self.tls if wants_tls else None)
        if wants_tls:
            with _closed_on_error(writer):
                head = await reader.readexactly(4)
                await reader.readexactly(int.from_bytes(head[:3], "little"))
        writer.write(_packet(head[3] + 1, b"\xfemysql_clear_password\0"))
        return reader, writer


@contextmanager
def _closed_on_error(writer: asyncio.StreamWriter) -> Iterator[None]:
    try:
        yield
    except BaseException:
        writer.close()
        raise


async def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await asyncio.get_running_loop().sock_recv(client, size - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


async def _send(client: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(client, data)


async def _streams(client: socket.socket, tls: ssl.SSLContext | None) -> Streams:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, client.dup(), ssl=tls)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _greeting(capabilities: int) -> bytes:
    salt = b"12345678901234567890\0"
    low, high = capabilities & 0xFFFF, capabilities >> 16
    return (
        b"\x0a8.0.36\0"
        + struct.pack("<I", 7)
        + salt[:8]
        + b"\0"
        + struct.pack("<HBHHB", low, 45, 2, high, len(salt))
        + bytes(10)
        + salt[8:]
        + b"mysql_native_password\0"
    )


def _packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


HOSTILE: dict[str, Callable[[trustme.CA], ssl.SSLContext | None]] = {
    "no TLS": lambda good: None,
    "wrong name": lambda good: server_context(good, "evil.test"),
    "wrong authority": lambda good: server_context(trustme.CA(), "localhost"),
}
"""What they show, given the authority that the client trusts."""
