"""The first words with a server, in its own protocol: TLS, please; and what do you want of a user?

Nothing secret is sent here. What the server asks a user for tells whether it takes an IAM
token from it: RDS asks IAM users for a password in clear text, and all others for a proof.

Source:
    https://www.postgresql.org/docs/current/protocol-message-formats.html
    https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Literal

Family = Literal["postgresql", "mysql"]

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_PROTOCOL_3 = 3 << 16
_CLEARTEXT = 3
_TRUSTED = 0

_LONG_PASSWORD, _PROTOCOL_41, _SSL = 1, 1 << 9, 1 << 11
_SECURE_CONNECTION, _PLUGIN_AUTH = 1 << 15, 1 << 19
_CLIENT = _LONG_PASSWORD | _PROTOCOL_41 | _SSL | _SECURE_CONNECTION | _PLUGIN_AUTH
_UTF8MB4 = 45
_DENIED = 1045
_MOST = 1 << 16

Wants = Literal["token", "proof", "nothing", "error"]


class NoTlsError(Exception):
    """The server offers no TLS."""


class StrangerError(Exception):
    """Whoever listens speaks another protocol. The message says what it said."""


class ServerError(Exception):
    """The server turns everybody away. The message is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server wants of a user.

    Attributes:
        wants: A `token`, in clear text; a `proof` of a password; `nothing`; or it is an
            `error`, before any question.
        said: In its words: the method, or the error with its code.
    """

    wants: Wants
    said: str


def ask_for_tls(server: socket.socket, family: Family) -> None:
    """Ask the server to speak TLS from now on; it waits for the handshake then.

    Raises:
        NoTlsError: When it does not offer any.
        StrangerError: When it is no server of this family.
        ServerError: When it turns everybody away.
        OSError: When it hangs up, or says nothing.
    """
    if family == "mysql":
        _ask_mysql_for_tls(server)
        return
    server.sendall(_SSL_REQUEST)
    answer = _exactly(server, 1)  # a tunnel whose far end is dead hangs up here
    if answer == b"N":
        raise NoTlsError
    if answer == b"E":  # what it says follows in clear text, and so is anybody's
        raise ServerError("an error instead of TLS")
    if answer != b"S":
        raise StrangerError(_quoted(answer + _more(server)))


def ask_what_it_wants(
    server: socket.socket, family: Family, *, user: str, database: str | None
) -> Reply:
    """Say who would log in, and return what the server asks for; then nothing more is said.

    Args:
        server: Behind TLS, verified.
        family: Whose protocol.
        user: The database user.
        database: Where to; PostgreSQL chooses its rules by it.

    Raises:
        OSError: When it hangs up, or says nothing.
        StrangerError: When the answer cannot be read.
    """
    if family == "mysql":
        return _ask_mysql(server, user)
    parameters = {"user": user, **({"database": database} if database else {})}
    texts = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items())
    body = struct.pack("!I", _PROTOCOL_3) + texts + b"\0"
    server.sendall(struct.pack("!I", len(body) + 4) + body)
    kind, body = _message(server)
    if kind == b"E":
        return Reply(wants="error", said=_postgres_error(body))
    if kind != b"R" or len(body) < 4:
        raise StrangerError(_quoted(kind + body))
    (method,) = struct.unpack_from("!I", body)
    named = {5: "an MD5 hash", 10: "SCRAM", 7: "GSSAPI", 9: "SSPI"}.get(method, str(method))
    if method == _CLEARTEXT:
        return Reply(wants="token", said="a password in clear text")
    return Reply(wants="nothing" if method == _TRUSTED else "proof", said=named)


def _ask_mysql_for_tls(server: socket.socket) -> None:
    greeting = _packet(server)
    if greeting[:1] == b"\xff":
        raise ServerError(_mysql_error(greeting))
    version, _, rest = greeting.partition(b"\0")
    if version[:1] != b"\n" or len(rest) < 20:
        raise StrangerError(_quoted(greeting))
    # Thread id 4, salt 8, filler 1; then the lower half of the capabilities.
    if not int.from_bytes(rest[13:15], "little") & _SSL:
        raise NoTlsError
    server.sendall(_numbered(1, _introduction()))


def _ask_mysql(server: socket.socket, user: str) -> Reply:
    # No proof, of a method that RDS gives no IAM user: so it has to say which one it wants.
    login = _introduction() + user.encode() + b"\0" + b"\0" + b"mysql_native_password\0"
    server.sendall(_numbered(2, login))
    answer = _packet(server)
    if answer[:1] == b"\xfe":
        method = answer[1:].partition(b"\0")[0].decode("ascii", "replace")
        return Reply(wants="token" if method == "mysql_clear_password" else "proof", said=method)
    if answer[:1] == b"\xff":
        denied = int.from_bytes(answer[1:3], "little") == _DENIED
        return Reply(wants="proof" if denied else "error", said=_mysql_error(answer))
    return Reply(wants="nothing" if answer[:1] == b"\0" else "proof", said="no token")


def _introduction() -> bytes:
    return struct.pack("<IIB23x", _CLIENT, _MOST, _UTF8MB4)


def _numbered(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def _packet(server: socket.socket) -> bytes:
    head = _exactly(server, 4)
    size = int.from_bytes(head[:3], "little")
    if size > _MOST:
        raise StrangerError(_quoted(head + _more(server)))
    return _exactly(server, size)


def _message(server: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(server, 5)
    (size,) = struct.unpack_from("!I", head, 1)
    if not 4 <= size <= _MOST:
        raise StrangerError(_quoted(head + _more(server)))
    return head[:1], _exactly(server, size - 4)


def _exactly(server: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := server.recv(size - len(data))):
            raise ConnectionResetError("the server hung up")
        data += more
    return data


def _more(server: socket.socket) -> bytes:
    """Return what else is there at once, to tell what kind of stranger it is."""
    server.settimeout(0.2)
    try:
        return server.recv(60)
    except OSError:
        return b""


def _quoted(data: bytes) -> str:
    return repr(data[:40].decode("ascii", "replace")) if data else "nothing"


def _postgres_error(body: bytes) -> str:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    return f"{fields.get(b'C', '')} {fields.get(b'M', '')}".strip()


def _mysql_error(body: bytes) -> str:
    code = int.from_bytes(body[1:3], "little")
    text = body[9:] if body[3:4] == b"#" else body[3:]
    return f"{code} {text.decode(errors='replace')}"
