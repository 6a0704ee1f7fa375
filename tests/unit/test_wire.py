"""The gate and PostgreSQL must read the same thing out of the same bytes."""

import struct

import pytest
from hypothesis import example, given
from hypothesis.strategies import binary, characters, dictionaries, integers, text

from rds_iam_async.testing import _wire

# No zero byte inside a string of the protocol, and no lone surrogate in UTF-8.
wire_text = text(characters(codec="utf-8", exclude_characters="\0"))


def startup_body(parameters: dict[str, str]) -> bytes:
    strings = (string for pair in parameters.items() for string in pair)
    return b"".join(string.encode() + b"\0" for string in strings) + b"\0"


@given(dictionaries(wire_text.filter(bool), wire_text))
@example({"user": "", "database": ""})
def test_startup_parameters_are_read_as_they_were_written(parameters: dict[str, str]) -> None:
    """Empty values and any alphabet survive; nothing is trimmed."""
    assert _wire.startup_parameters(startup_body(parameters)) == parameters


@given(binary())
@example(b"user\0app\0\0user\0postgres\0\0")
def test_startup_bytes_are_either_refused_or_mean_one_thing_only(body: bytes) -> None:
    """What the gate reads is all that is there: no second user behind a terminator."""
    try:
        parameters = _wire.startup_parameters(body)
    except _wire.WireError:
        return
    strings = body[:-1].split(b"\0")[:-1]
    assert len(strings) % 2 == 0
    assert dict(zip(strings[::2], strings[1::2], strict=True)) == {
        name.encode(): value.encode() for name, value in parameters.items()
    }


def test_the_last_of_two_users_counts_as_in_postgresql() -> None:
    """The token is judged for the user whom PostgreSQL lets in."""
    assert _wire.startup_parameters(b"user\0app\0user\0bob\0\0") == {"user": "bob"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"user\0app",
        b"user\0app\0",
        b"user\0\0",
        b"user\0app\0\0\0",
        b"\0user\0postgres\0\0",
        b"user\0app\0\0x\0user\0postgres\0\0",
        b"user\0\xff\0\0",
    ],
)
def test_a_broken_startup_packet_is_refused(body: bytes) -> None:
    """A layout that PostgreSQL refuses is not guessed at; nor is text that is not UTF-8."""
    with pytest.raises(_wire.WireError):
        _wire.startup_parameters(body)


@given(length=integers(0, 2**32 - 1), code=integers(0, 2**32 - 1))
@example(length=7, code=196608)
@example(length=8, code=_wire.SSL_REQUEST)
@example(length=9, code=_wire.SSL_REQUEST)
@example(length=9, code=_wire.GSSENC_REQUEST)
@example(length=10_000, code=196608)
@example(length=10_001, code=196608)
def test_a_startup_header_promises_at_most_what_postgresql_reads(length: int, code: int) -> None:
    """Nobody makes the gate wait for, or hold, more than 10 000 bytes."""
    asks_for_encryption = code in (_wire.SSL_REQUEST, _wire.GSSENC_REQUEST)
    header = struct.pack("!II", length, code)
    if 8 <= length <= 10_000 and not (asks_for_encryption and length != 8):
        assert _wire.startup_header(header) == (length - 8, code)
    else:
        with pytest.raises(_wire.WireError):
            _wire.startup_header(header)


@pytest.mark.parametrize(
    ("code", "passed_on"),
    [
        (0x0003_0000, True),
        (0x0003_0002, True),
        (0x0002_0000, False),
        (_wire.SSL_REQUEST, False),
        (_wire.GSSENC_REQUEST, False),
        (_wire.CANCEL_REQUEST, False),
    ],
)
def test_only_logins_of_protocol_3_are_passed_on(code: int, passed_on: bool) -> None:
    """A request code inside TLS never reaches PostgreSQL as if it were a login."""
    assert _wire.is_startup(code) is passed_on


@given(binary(min_size=5, max_size=5))
@example(b"p\0\0\0\3")
@example(b"p\0\0\0\4")
@example(b"p\0\0\xff\xff")
@example(b"p\0\1\0\0")
def test_a_message_is_at_most_as_long_as_a_login_message(header: bytes) -> None:
    """The length includes itself, and ends where PostgreSQL's own limit does."""
    length = int.from_bytes(header[1:])
    if 4 <= length <= 65_535:
        assert _wire.message_header(header) == length - 4
    else:
        with pytest.raises(_wire.WireError):
            _wire.message_header(header)


@given(wire_text)
def test_a_password_is_read_as_it_was_written(password: str) -> None:
    """The zero byte that ends it is not part of it."""
    body = password.encode() + b"\0"
    assert _wire.password(struct.pack("!cI", b"p", len(body) + 4) + body) == password


@pytest.mark.parametrize(
    "message",
    [
        b"p\0\0\0\4",
        b"p\0\0\0\x0bhunter2",
        b"p\0\0\0\x0fhunter2\0re\0",
        b"X\0\0\0\x0chunter2\0",
    ],
)
def test_a_password_message_of_another_form_is_refused_unquoted(message: bytes) -> None:
    """Whatever it carried may have been a secret."""
    with pytest.raises(_wire.WireError) as refusal:
        _wire.password(message)
    assert "hunter2" not in str(refusal.value)


@given(wire_text)
def test_an_error_response_says_what_drivers_look_for(text: str) -> None:
    """Severity, SQLSTATE and message, each ended, and a length that covers them all."""
    response = _wire.error_response("28000", text)
    assert response[:1] == b"E"
    assert int.from_bytes(response[1:5]) == len(response) - 1
    *fields, nothing, end = response[5:].split(b"\0")
    assert (nothing, end) == (b"", b"")
    assert {field[:1]: field[1:].decode() for field in fields} == {
        b"S": "FATAL",
        b"V": "FATAL",
        b"C": "28000",
        b"M": text,
    }
