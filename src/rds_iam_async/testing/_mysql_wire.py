"""The few MySQL packets that pass before a session is open, as plain bytes.

Source:
    https://mariadb.com/kb/en/connection/
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass, field, replace

from ._wire import MESSAGE_LIMIT, WireError

# Capabilities of a client: include/mysql_com.h.
CONNECT_WITH_DB = 1 << 3
PROTOCOL_41 = 1 << 9
SSL = 1 << 11
SECURE_CONNECTION = 1 << 15
PLUGIN_AUTH = 1 << 19
LENENC_PROOF = 1 << 21

OK = 0x00
ERR = 0xFF
QUIT = b"\x01"

CLEAR_PASSWORD_REQUEST = b"\xfemysql_clear_password\0"

# ER_ACCESS_DENIED_ERROR and ER_ACCESS_DENIED_NO_PASSWORD_ERROR.
_DENIALS = (1045, 1698)

# USERNAME_CHAR_LENGTH: the server cuts off what is longer.
_USER_LIMIT = 128
# The collations of utf8mb3 and utf8mb4 that fit into a byte.
_UTF8 = frozenset({33, 45, 46, 76, 83, *range(192, 216), *range(223, 248), 254, 255})
# What means the same in every character set that a client may have.
_PLAIN = re.compile(r"[ -?A-Z_a-z]*")


def packet(sequence: int, body: bytes) -> bytes:
    """Return *body* with its header."""
    return len(body).to_bytes(3, "little") + bytes([sequence & 0xFF]) + body


def packet_header(header: bytes) -> tuple[int, int]:
    """Read the four bytes of a header.

    Returns:
        How many bytes follow, and the sequence number.

    Raises:
        WireError: When the length is one that no login packet has.
    """
    length = int.from_bytes(header[:3], "little")
    if not 1 <= length <= MESSAGE_LIMIT:
        raise WireError("not a login packet")
    return length, header[3]


def error(code: int, sqlstate: str, text: str) -> bytes:
    """Return the body of an ERR packet."""
    return struct.pack("<BH", ERR, code) + f"#{sqlstate}{text}".encode()


def is_denial(body: bytes) -> bool:
    """Tell whether a server says that it was not the right password."""
    return body[0] == ERR and int.from_bytes(body[1:3], "little") in _DENIALS


def challenge(body: bytes) -> bytes:
    """Return the 20 random bytes of a server's greeting, which a proof answers.

    Raises:
        WireError: When it is not a greeting of protocol 10.
    """
    version, end, rest = body.partition(b"\0")
    # Thread id 4, first part 8, filler 1, capabilities, collation and status 7, its
    # length 1, reserved 10; then the second part and a zero byte.
    if version[:1] != b"\n" or not end or len(rest) < 44:
        raise WireError("not a greeting of MySQL's protocol 10")
    return rest[4:12] + rest[31:43]


def is_ssl_request(body: bytes) -> bool:
    """Tell whether a client's first packet asks for TLS."""
    return len(body) == 32 and bool(int.from_bytes(body[:4], "little") & SSL)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginPacket:
    """Who wants to come in (HandshakeResponse41).

    Attributes:
        capabilities: What the client can, and how the rest is laid out.
        settings: Its longest packet, its collation, and 23 bytes that are none of ours.
        user: As it stands there.
        proof: What answers the challenge, in the way of `plugin`.
        database: Where to, if capabilities say `CONNECT_WITH_DB`.
        plugin: The way, if capabilities say `PLUGIN_AUTH`.
        attributes: What else the client says of itself, unread.
    """

    capabilities: int
    settings: bytes
    user: bytes
    proof: bytes = field(repr=False)
    database: bytes | None = None
    plugin: bytes | None = None
    attributes: bytes = b""

    @property
    def user_name(self) -> str:
        """Return the user whom the server lets in, read as the server does.

        It takes quotes away, and cuts off what is too long. In another character set
        than UTF-8 only plain letters are read: there is no token for what is not.
        """
        raw = self.user
        if len(raw) > 1 and raw[:1] == raw[-1:] == b"'":
            raw = raw[1:-1]
        name = raw.decode(errors="replace")
        if self.settings[4] not in _UTF8 and not _PLAIN.fullmatch(name):
            name = "\N{REPLACEMENT CHARACTER}"
        return name[:_USER_LIMIT]

    @property
    def ssl_request(self) -> bytes:
        """Return the body of the packet that asks for TLS first."""
        return struct.pack("<I", self.capabilities | SSL) + self.settings

    def body(self) -> bytes:
        """Return what stands behind the packet's header."""
        head = struct.pack("<I", self.capabilities) + self.settings + self.user + b"\0"
        database, plugin = (
            b"" if text is None else text + b"\0" for text in (self.database, self.plugin)
        )
        return head + self._laid_out_proof() + database + plugin + self.attributes

    def proving(self, password: bytes, challenge: bytes) -> LoginPacket:
        """Return the same login with a proof of *password*."""
        return replace(
            self,
            capabilities=self.capabilities | SECURE_CONNECTION | PLUGIN_AUTH,
            proof=native_proof(password, challenge),
            plugin=b"mysql_native_password",
        )

    def _laid_out_proof(self) -> bytes:
        if self.capabilities & LENENC_PROOF and len(self.proof) > 250:
            return struct.pack("<BH", 0xFC, len(self.proof)) + self.proof
        if self.capabilities & (LENENC_PROOF | SECURE_CONNECTION):
            return bytes([len(self.proof)]) + self.proof
        return self.proof + b"\0"


def login_packet(body: bytes) -> LoginPacket:
    """Read a client's login.

    Raises:
        WireError: When it is not one, or its layout is broken.
    """
    if len(body) < 33:
        raise WireError("not a login")
    (capabilities,) = struct.unpack_from("<I", body)
    if not capabilities & PROTOCOL_41:
        raise WireError("a login from before MySQL 4.1")
    user, at = _text(body, 32)
    proof, at = _proof(body, at, capabilities)
    database = plugin = None
    if capabilities & CONNECT_WITH_DB:
        database, at = _text(body, at)
    if capabilities & PLUGIN_AUTH:
        plugin, at = _text(body, at)
    return LoginPacket(
        capabilities=capabilities,
        settings=body[4:32],
        user=user,
        proof=proof,
        database=database,
        plugin=plugin,
        attributes=body[at:],
    )


def token(body: bytes) -> str:
    """Return what answers `CLEAR_PASSWORD_REQUEST`; not every client ends it with a zero."""
    # Not UTF-8 is a wrong password, not a broken protocol.
    return body.removesuffix(b"\0").decode(errors="replace")


def native_hash(password: bytes) -> str:
    """Return what the server keeps of a password, as SQL spells it."""
    return f"*{_sha1(_sha1(password)).hex().upper()}"


def native_proof(password: bytes, challenge: bytes) -> bytes:
    """Return what mysql_native_password answers to *challenge*."""
    once = _sha1(password)
    mask = _sha1(challenge + _sha1(once))
    return bytes(left ^ right for left, right in zip(once, mask, strict=True))


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _text(body: bytes, at: int) -> tuple[bytes, int]:
    end = body.find(b"\0", at)
    if end < 0:
        raise WireError("a text without its end")
    return body[at:end], end + 1


def _proof(body: bytes, at: int, capabilities: int) -> tuple[bytes, int]:
    if not capabilities & (LENENC_PROOF | SECURE_CONNECTION):
        return _text(body, at)
    length, start = (body[at] if at < len(body) else len(body)), at + 1
    if capabilities & LENENC_PROOF and length > 250:
        if length != 0xFC:
            raise WireError("a proof of an impossible length")
        length, start = int.from_bytes(body[at + 1 : at + 3], "little"), at + 3
    if len(body) < start + length:
        raise WireError("a proof that is cut off")
    return body[start : start + length], start + length
