"""One end of a connection that is read at first and then joined to another."""

from __future__ import annotations

import asyncio
from typing import cast

from . import _wire

# Nothing that is read here is longer than one login message.
_BUFFER_LIMIT = _wire.MESSAGE_LIMIT + 1


class Pipe(asyncio.Protocol):
    """Bytes to `read`, until `join` hands all further ones to the other end.

    Both phases have back-pressure: a sender is not read faster than its bytes are
    taken.

    Attributes:
        transport: Where to write.
        closed: Done once the connection is gone.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._buffer = bytearray()
        self._end: str | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._other: Pipe | None = None
        self._closing = False

    async def read(self, count: int) -> bytes:
        """Return exactly *count* bytes.

        Raises:
            EOFError: When the connection ends before they have come.
        """
        while len(self._buffer) < count:
            if self._end is not None:
                raise EOFError(self._end)
            self.transport.resume_reading()
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def read_message(self) -> bytes:
        """Return one typed message, header included.

        Raises:
            EOFError: When the connection ends before it is complete.
            WireError: When it is too long for a login message.
        """
        header = await self.read(5)
        return header + await self.read(_wire.message_header(header))

    def join(self, other: Pipe) -> None:
        """Pass on everything that comes, and came, from each of the two to the other."""
        self._other, other._other = other, self
        for source, sink in ((self, other), (other, self)):
            # Reading goes on first: the write may at once pause it again.
            source.transport.resume_reading()
            if source._buffer:
                sink.transport.write(bytes(source._buffer))
                source._buffer.clear()
            if source._end is not None:
                sink.close()

    def close(self) -> None:
        """Say goodbye, once: a TLS transport closed twice forgets how to `abort` (CPython 3.11)."""
        if not self._closing:
            self._closing = True
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass *data* on, or keep it for `read`."""
        if self._other is not None:
            if not self._other.transport.is_closing():
                self._other.transport.write(data)
            return
        self._buffer += data
        if len(self._buffer) > _BUFFER_LIMIT:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """End both sides: PostgreSQL knows no half-open sessions."""
        self._finish("the connection was closed")

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side too."""
        self._finish(str(exc) if exc else "the connection was closed")
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """Stop reading what could not be written here."""
        if self._other is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading for this end."""
        if self._other is not None:
            self._other.transport.resume_reading()

    def _finish(self, why: str) -> None:
        if self._end is None:
            self._end = why
        self._wake()
        if self._other is not None:
            self._other.close()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
