"""The few PostgreSQL messages that pass before a session is open, as plain bytes.

Source:
    https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import struct

# The request codes that stand where a protocol version would.
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104

# src/include/libpq/pqcomm.h: MAX_STARTUP_PACKET_LENGTH, PG_MAX_AUTH_TOKEN_LENGTH.
STARTUP_LIMIT = 10_000
MESSAGE_LIMIT = 65_535

TLS_ACCEPTED = b"S"
GSS_DECLINED = b"N"
# RFC 8446, section 5.1: the content type of a handshake record, the first byte
# of a client that speaks TLS without asking (sslnegotiation=direct).
TLS_HANDSHAKE = 0x16

AUTHENTICATION_OK = struct.pack("!cII", b"R", 8, 0)
CLEARTEXT_PASSWORD_REQUEST = struct.pack("!cII", b"R", 8, 3)
NEGOTIATE_VERSION = b"v"
PASSWORD = b"p"


class WireError(ValueError):
    """Bytes that the protocol does not allow. The message never quotes them."""


def startup_header(header: bytes) -> tuple[int, int]:
    """Read the first eight bytes of an untyped packet.

    Returns:
        How many bytes follow, and the protocol version or request code.

    Raises:
        WireError: When the length is one that PostgreSQL would refuse too.
    """
    length, code = struct.unpack("!II", header)
    if not 8 <= length <= STARTUP_LIMIT:
        raise WireError("not a startup packet")
    if code in (SSL_REQUEST, GSSENC_REQUEST) and length != 8:
        raise WireError("an encryption request of the wrong length")
    return length - 8, code


def is_startup(code: int) -> bool:
    """Tell whether *code* is a version of protocol 3: the only one that is passed on."""
    return code >> 16 == 3


def startup_parameters(body: bytes) -> dict[str, str]:
    """Read what a startup packet carries after its header.

    As in PostgreSQL's `ProcessStartupPacket`, an empty name ends the list and must
    be the last byte, and of a repeated name the last value counts: gate and server
    must not read two users out of one packet.

    Raises:
        WireError: When the layout is broken or the text is not UTF-8.
    """
    if not body.endswith(b"\0"):
        raise WireError("a startup packet without its terminator")
    texts = iter(body[:-1].split(b"\0")[:-1])
    parameters: dict[str, str] = {}
    try:
        for name in texts:
            if not name:
                raise WireError("a startup packet that goes on after its terminator")
            parameters[name.decode()] = next(texts).decode()
    except StopIteration:
        raise WireError("a startup parameter without a value") from None
    except UnicodeDecodeError:
        raise WireError("a startup packet that is not UTF-8") from None
    return parameters


def message_header(header: bytes) -> int:
    """Return how many bytes follow the five of a typed message's header.

    Raises:
        WireError: When the length is one that no login message has.
    """
    (length,) = struct.unpack_from("!I", header, 1)
    if not 4 <= length <= MESSAGE_LIMIT:
        raise WireError("not a login message")
    return int(length) - 4


def password(message: bytes) -> str:
    """Return what a PasswordMessage carries.

    Raises:
        WireError: When it is another message, or not one text ended by a zero byte.
    """
    body = message[5:]
    if message[:1] != PASSWORD:
        raise WireError("a message other than the password that was asked for")
    if body.count(b"\0") != 1 or not body.endswith(b"\0"):
        raise WireError("a password that does not end where its message does")
    # Not UTF-8 is a wrong password, not a broken protocol.
    return body[:-1].decode(errors="replace")


def error_response(sqlstate: str, text: str) -> bytes:
    """Return a FATAL ErrorResponse, after which the server hangs up."""
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": text}
    body = b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0"
    return struct.pack("!cI", b"E", len(body) + 4) + body
