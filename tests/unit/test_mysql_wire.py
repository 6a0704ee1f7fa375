"""The gate and MariaDB must read the same thing out of the same bytes."""

import hashlib
import struct

import pytest
from hypothesis import example, given
from hypothesis.strategies import (
    binary,
    booleans,
    builds,
    integers,
    none,
    one_of,
    sampled_from,
    text,
)

from rds_iam_async.testing import _mysql_wire as wire
from rds_iam_async.testing._mysql_sql import (
    create_iam_user,
    create_password_user,
    set_up,
    without_plugin,
)
from rds_iam_async.testing._wire import WireError

FLAGS = (
    wire.CONNECT_WITH_DB
    | wire.SSL
    | wire.SECURE_CONNECTION
    | wire.PLUGIN_AUTH
    | wire.LENENC_PROOF
    | wire.PROTOCOL_41
)
UTF8MB4, LATIN1 = 45, 8

# No zero byte inside a text of the protocol.
wire_bytes = binary(max_size=40).filter(lambda data: b"\0" not in data)


def settings(collation: int = UTF8MB4) -> bytes:
    return struct.pack("<IB", 1 << 24, collation) + bytes(23)


def login(user: bytes, *, collation: int = UTF8MB4) -> wire.LoginPacket:
    return wire.LoginPacket(
        capabilities=wire.PROTOCOL_41, settings=settings(collation), user=user, proof=b""
    )


def make_login(
    flags: int,
    user: bytes,
    proof: bytes,
    long_proof: bool,
    database: bytes,
    plugin: bytes,
    attributes: bytes,
) -> wire.LoginPacket:
    """Return a login whose parts are those that its capabilities promise."""
    if not flags & (wire.LENENC_PROOF | wire.SECURE_CONNECTION):
        proof = proof.replace(b"\0", b"")
    if long_proof and flags & wire.LENENC_PROOF:
        proof = proof * 40
    return wire.LoginPacket(
        capabilities=flags | wire.PROTOCOL_41,
        settings=settings(),
        user=user,
        proof=proof,
        database=database if flags & wire.CONNECT_WITH_DB else None,
        plugin=plugin if flags & wire.PLUGIN_AUTH else None,
        attributes=attributes,
    )


logins = builds(
    make_login,
    integers(0, 2**32 - 1),
    wire_bytes,
    binary(max_size=40),
    booleans(),
    wire_bytes,
    wire_bytes,
    binary(max_size=40),
)


@given(logins)
def test_a_login_is_read_as_it_was_written(packet: wire.LoginPacket) -> None:
    """In each of the layouts that capabilities choose."""
    assert wire.login_packet(packet.body()) == packet


@given(binary(max_size=200), one_of(none(), integers(0, 2**32 - 1)))
@example(bytes(32) + b"app", wire.PROTOCOL_41)
@example(bytes(32) + b"app\0", wire.PROTOCOL_41 | wire.SECURE_CONNECTION)
@example(bytes(32) + b"app\0\xfc\xff", wire.PROTOCOL_41 | wire.LENENC_PROOF)
@example(bytes(32) + b"app\0\xfb", wire.PROTOCOL_41 | wire.LENENC_PROOF)
@example(bytes(32) + b"app\0\xff" + bytes(255), wire.PROTOCOL_41 | wire.LENENC_PROOF)
@example(bytes(32) + b"app\0\x05four", wire.PROTOCOL_41 | wire.SECURE_CONNECTION)
def test_bytes_are_either_refused_or_a_login(body: bytes, capabilities: int | None) -> None:
    """Nothing else comes out, and what is written again means the same."""
    if capabilities is not None:
        body = struct.pack("<I", capabilities) + body[4:]
    try:
        packet = wire.login_packet(body)
    except WireError:
        return
    assert wire.login_packet(packet.body()) == packet
    assert body[32:].startswith(packet.user + b"\0")


@pytest.mark.parametrize(
    ("capabilities", "rest"),
    [
        (0, b"app"),
        (wire.SECURE_CONNECTION, b"app\0"),
        (wire.SECURE_CONNECTION, b"app\0\x05four"),
        (wire.LENENC_PROOF, b"app\0\xfb" + bytes(300)),
        (wire.LENENC_PROOF, b"app\0\xff" + bytes(300)),
        (wire.LENENC_PROOF, b"app\0\xfc\xff\xff" + bytes(300)),
        (wire.CONNECT_WITH_DB, b"app\0\0db"),
        (wire.PLUGIN_AUTH, b"app\0\0plugin"),
    ],
)
def test_a_broken_login_is_refused(capabilities: int, rest: bytes) -> None:
    """What is cut off, or of an impossible length, is not guessed at."""
    with pytest.raises(WireError):
        wire.login_packet(struct.pack("<I", capabilities | wire.PROTOCOL_41) + settings() + rest)


def test_a_proof_is_not_shown() -> None:
    """Of a password it is the hash."""
    packet = login(b"app").proving(b"secret", bytes(20))
    assert "proof" not in repr(packet)


def test_a_login_from_before_4_1_is_refused() -> None:
    """Its layout is another one."""
    with pytest.raises(WireError):
        wire.login_packet(bytes(40))


@pytest.mark.parametrize(
    ("user", "collation", "name"),
    [
        (b"app", UTF8MB4, "app"),
        (b"app", LATIN1, "app"),
        (b"'app'", UTF8MB4, "app"),
        (b"'", UTF8MB4, "'"),
        (b"'app", UTF8MB4, "'app"),
        (b"a" * 200, UTF8MB4, "a" * 128),
        ("数" * 200, UTF8MB4, "数" * 128),
        ("é", UTF8MB4, "é"),
        ("é", 255, "é"),
        ("é", LATIN1, "\ufffd"),
        (b"\xe9", LATIN1, "\ufffd"),
        (b"\xe9", UTF8MB4, "\ufffd"),
        (b"[", 10, "\ufffd"),  # swe7: an A with dots
    ],
)
def test_a_user_is_read_as_the_server_reads_it(
    user: bytes | str, collation: int, name: str
) -> None:
    """A token is judged for whom MariaDB lets in; there is none for what is not sure."""
    raw = user.encode() if isinstance(user, str) else user
    assert login(raw, collation=collation).user_name == name


def test_the_request_for_tls_announces_the_same_client() -> None:
    """The server believes the capabilities that come first."""
    request = login(b"app").ssl_request
    assert wire.is_ssl_request(request)
    assert request[4:] == settings()
    assert not wire.is_ssl_request(login(b"app").body()[:32])
    assert not wire.is_ssl_request(request + b"app\0")


def test_a_replayed_login_differs_in_nothing_but_its_proof() -> None:
    """Database, character set and attributes are the client's."""
    packet = make_login(FLAGS, b"app", b"token", False, b"db", b"mysql_clear_password", b"attrs")
    replayed = packet.proving(b"secret", b"c" * 20)
    assert replayed.proof == wire.native_proof(b"secret", b"c" * 20)
    assert replayed.plugin == b"mysql_native_password"
    again = wire.login_packet(replayed.body())
    assert (again.user, again.database, again.settings, again.attributes) == (
        b"app",
        b"db",
        packet.settings,
        b"attrs",
    )


@given(binary(min_size=4, max_size=4))
@example(b"\0\0\0\0")
@example(b"\1\0\0\xff")
@example(b"\xff\xff\0\1")
@example(b"\0\0\1\1")
def test_a_packet_is_at_most_as_long_as_a_login_packet(header: bytes) -> None:
    """Nobody makes the gate hold 16 MB before he has logged in."""
    length = int.from_bytes(header[:3], "little")
    if 1 <= length <= 65_535:
        assert wire.packet_header(header) == (length, header[3])
    else:
        with pytest.raises(WireError):
            wire.packet_header(header)


@given(integers(0, 300), binary(min_size=1, max_size=300))
def test_a_packet_starts_with_its_length_and_number(sequence: int, body: bytes) -> None:
    """Numbers go round at 256."""
    packet = wire.packet(sequence, body)
    assert wire.packet_header(packet[:4]) == (len(body), sequence % 256)
    assert packet[4:] == body


def greeting(challenge: bytes, version: bytes = b"10.11.19-MariaDB") -> bytes:
    """Return what a server says first, as the documentation lays it out."""
    first, second = challenge[:8], challenge[8:]
    return (
        (b"\n" + version + b"\0" + struct.pack("<I", 7) + first + b"\0")
        + (b"\xfe\xf7" + b"\x2d" + b"\2\0" + b"\xff\x81" + b"\x15" + bytes(10))
        + (second + b"\0" + b"mysql_native_password\0")
    )


@given(binary(min_size=20, max_size=20))
def test_the_challenge_is_found_in_its_two_places(challenge: bytes) -> None:
    """Eight bytes for the oldest of clients, and twelve more."""
    assert wire.challenge(greeting(challenge)) == challenge


@given(binary(max_size=80))
@example(b"\xff\x10\x04Too many connections")
@example(b"\n10.11")
@example(b"\n\0" + bytes(43))
def test_another_greeting_is_refused(body: bytes) -> None:
    """An error in its place has no challenge."""
    try:
        assert len(wire.challenge(body)) == 20
    except WireError:
        return
    assert body[:1] == b"\n"


@given(text())
def test_an_error_says_what_drivers_look_for(message: str) -> None:
    """Number, SQLSTATE and text."""
    body = wire.error(1045, "28000", message.encode(errors="replace").decode())
    assert body[:9] == b"\xff\x15\x04#28000"
    assert wire.is_denial(body)
    assert not wire.is_denial(b"\0" + body[1:])


@pytest.mark.parametrize(("code", "denial"), [(1045, True), (1698, True), (1049, False)])
def test_only_a_wrong_password_is_a_denial(code: int, denial: bool) -> None:
    """What else a server says, it says to those who have shown the right one."""
    assert wire.is_denial(wire.error(code, "28000", "")) is denial


@pytest.mark.parametrize("end", [b"", b"\0"])
def test_a_token_is_read_with_and_without_a_zero_at_its_end(end: bytes) -> None:
    """Clients differ; and what is not text is a wrong password."""
    assert wire.token(b"token" + end) == "token"
    assert wire.token(b"\xff" + end) == "\ufffd"
    assert wire.token(end) == ""


@given(binary(), binary(min_size=20, max_size=20))
def test_a_proof_is_one_that_the_server_can_check(password: bytes, challenge: bytes) -> None:
    """It has the hash of the hash, and finds the hash in the proof."""
    stored = bytes.fromhex(wire.native_hash(password)[1:])
    proof = wire.native_proof(password, challenge)
    mask = hashlib.sha1(challenge + stored).digest()
    once = bytes(left ^ right for left, right in zip(proof, mask, strict=True))
    assert hashlib.sha1(once).digest() == stored


# What stands in SQL for the plugin that only RDS has.

HASH = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"  # of "password": MariaDB's PASSWORD()
OURS = f"IDENTIFIED VIA mysql_native_password USING '{HASH}'"


def test_a_hash_is_what_mariadb_makes_of_a_password() -> None:
    """As SELECT PASSWORD('password') says."""
    assert wire.native_hash(b"password") == HASH


@pytest.mark.parametrize(
    "clause",
    [
        "IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'",
        "identified with awsauthenticationplugin as 'RDS'",
        "IDENTIFIED\n  VIA AWSAuthenticationPlugin USING 'RDS'",
        'IDENTIFIED WITH AWSAuthenticationPlugin AS "RDS"',
        "IDENTIFIED WITH AWSAuthenticationPlugin",
    ],
)
def test_the_clause_of_rds_becomes_one_of_mariadb(clause: str) -> None:
    """Wherever it stands, as often as it stands there, and nothing else changes."""
    sql = f"CREATE USER 'it''s' {clause}; CREATE USER b@`%` {clause} REQUIRE SSL -- {clause}"
    assert without_plugin(sql, password_hash=HASH) == (
        f"CREATE USER 'it''s' {OURS}; CREATE USER b@`%` {OURS} REQUIRE SSL -- {clause}"
    )


@pytest.mark.parametrize("quotes", ["'{}'", '"{}"', "`{}`", "-- {}\n", "#{}\n", "/* \n{} */"])
@given(before=sampled_from(["", "''", r"it\'s ", "-- it's\n"]))
def test_the_clause_in_a_text_is_no_clause(quotes: str, before: str) -> None:
    """Nor in a name, nor in a comment."""
    inner = "IDENTIFIED WITH AWSAuthenticationPlugin AS RDS"
    sql = f"select {'' if before.startswith('it') else before} {quotes.format(inner)}"
    assert without_plugin(sql, password_hash=HASH) == sql


def test_names_and_passwords_may_be_spelled_in_any_way() -> None:
    """Quotes, backslashes, and what a grant takes for a pattern."""
    assert create_iam_user("o'b\\") == (
        "CREATE USER 'o''b\\\\' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'",
    )
    assert create_password_user("a", "it's") == ("CREATE USER 'a' IDENTIFIED BY 'it''s'",)
    assert set_up("a", "my_`db%")[0] == "CREATE DATABASE `my_``db%`"
    assert set_up("a", "my_`db%")[-1] == "GRANT ALL PRIVILEGES ON `my\\_``db\\%`.* TO 'a'"
