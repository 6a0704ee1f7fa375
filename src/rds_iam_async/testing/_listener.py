"""A TCP port on loopback that can stop listening for a while and keep its number."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any

_BACKLOG = 512


class Listener:
    """Accepts connections and runs one task for each.

    All but the constructor belongs to one event loop.

    Attributes:
        port: The port, also while it is not listening.
    """

    def __init__(self, port: int) -> None:
        self._socket = _bound(port)
        self.port: int = self._socket.getsockname()[1]
        self._visits: set[asyncio.Task[None]] = set()
        self._serve: Callable[[socket.socket], Coroutine[Any, Any, None]] | None = None

    async def open(self, serve: Callable[[socket.socket], Coroutine[Any, Any, None]]) -> None:
        """Listen, and let *serve* have each connection."""
        self._serve = serve
        await self.resume()

    async def resume(self) -> None:
        """Listen (again)."""
        self._socket.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    async def pause(self) -> None:
        """Refuse new connections; those that are open go on."""
        if asyncio.get_running_loop().remove_reader(self._socket):
            _hang_up(self._socket)
            # Bound but not listening: nobody else gets the port meanwhile.
            self._socket = _bound(self.port)

    async def close(self) -> None:
        """Stop listening and end all connections."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self.release()
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    def release(self) -> None:
        """Give the port back, without a loop."""
        _hang_up(self._socket)

    def _accept(self) -> None:
        # A plain callback, not `loop.sock_accept`: cancelled at the wrong moment
        # that would lose a connection without closing it.
        try:
            client, _ = self._socket.accept()
        except OSError:  # gone again, or out of descriptors; the loop will call again
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert self._serve is not None
        visit = asyncio.get_running_loop().create_task(self._serve(client))
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)
        visit.add_done_callback(lambda _: client.close())


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(("127.0.0.1", port))
    except BaseException:
        listener.close()
        raise
    return listener


def _hang_up(listener: socket.socket) -> None:
    # A forked child may hold a copy: closing ours alone would leave it listening.
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
