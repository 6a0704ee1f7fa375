"""Just enough HTTP/1.1 for a server on loopback: one request, one answer, goodbye."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for.

    Attributes:
        method: In capitals.
        path: Without the query, unquoted.
        query: Its last value for each name.
        headers: By their names in lower case.
        body: As it came.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = field(default=b"", repr=False)

    @property
    def form(self) -> dict[str, str]:
        """The body of a web form."""
        return dict(parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the client gets."""

    body: str = field(repr=False)
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


async def read_request(client: socket.socket) -> Request | None:
    """Read one request; `None` when the client goes before it is whole, or sends too much."""
    head, separator, body = b"", b"", b""
    while not separator:
        if not (more := await _receive(client)) or len(head) > _LONGEST:
            return None
        head += more
        head, separator, body = head.partition(b"\r\n\r\n")
    request_line, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    length = int(headers.get("content-length", "0"))
    while len(body) < length:
        if not (more := await _receive(client)) or len(body) > _LONGEST:
            return None
        body += more
    method, target, _ = request_line.split(" ")
    path, _, query = target.partition("?")
    return Request(
        method=method,
        path=unquote(path),
        query=dict(parse_qsl(query)),
        headers=headers,
        body=body,
    )


async def send_answer(client: socket.socket, answer: Answer) -> None:
    """Send one answer that says it is the last."""
    body = answer.body.encode()
    head = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
        "Connection: close",
    ]
    whole = "\r\n".join(head).encode() + b"\r\n\r\n" + body
    await asyncio.get_running_loop().sock_sendall(client, whole)


async def wait_until_gone(client: socket.socket) -> None:
    """Say nothing until the client gives up."""
    while await _receive(client):
        pass


async def _receive(client: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(client, 65536)
