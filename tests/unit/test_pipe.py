"""What is read is read to the byte; what is joined flows no faster than it is taken."""

import asyncio

import pytest

from rds_iam_async.testing._pipe import Pipe
from rds_iam_async.testing._wire import WireError

pytestmark = pytest.mark.anyio


class Wire(asyncio.Transport):
    """The far end of a pipe, without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.reading = True
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


def laid() -> tuple[Pipe, Wire]:
    pipe, wire = Pipe(), Wire()
    pipe.connection_made(wire)
    return pipe, wire


async def test_a_read_takes_what_it_asked_for_and_leaves_the_rest() -> None:
    """However the bytes were cut on their way."""
    pipe, _ = laid()
    reading = asyncio.create_task(pipe.read(5))
    for piece in (b"he", b"l", b"lo, "):
        await asyncio.sleep(0)
        pipe.data_received(piece)
    assert await reading == b"hello"
    pipe.data_received(b"world")
    assert await pipe.read(7) == b", world"


async def test_a_message_is_read_with_its_header() -> None:
    """And what follows it stays for the next one."""
    pipe, _ = laid()
    pipe.data_received(b"p\0\0\0\6x\0rest")
    assert await pipe.read_message() == b"p\0\0\0\6x\0"
    assert await pipe.read(4) == b"rest"


async def test_an_oversized_message_is_not_waited_for() -> None:
    """A client cannot make the gate hold what no login needs."""
    pipe, _ = laid()
    pipe.data_received(b"p\x7f\xff\xff\xff")
    with pytest.raises(WireError):
        await pipe.read_message()


async def test_a_read_ends_with_its_connection() -> None:
    """What had come before is still read."""
    pipe, _ = laid()
    pipe.data_received(b"abc")
    pipe.eof_received()
    assert await pipe.read(3) == b"abc"
    with pytest.raises(EOFError):
        await pipe.read(1)


async def test_a_flood_before_login_is_stopped_and_goes_on_when_it_is_read() -> None:
    """Memory for one login message, not for all that a client cares to send."""
    pipe, wire = laid()
    pipe.data_received(b"x" * 70_000)
    assert not wire.reading
    await pipe.read(70_000)
    reading = asyncio.create_task(pipe.read(1))
    await asyncio.sleep(0)
    assert wire.reading
    pipe.data_received(b"y")
    assert await reading == b"y"


async def test_joined_ends_pass_on_what_came_before_and_after() -> None:
    """In both directions, in order, and nothing twice."""
    (client, client_wire), (server, server_wire) = laid(), laid()
    client.data_received(b"1")
    server.data_received(b"a")
    client.join(server)
    client.data_received(b"2")
    server.data_received(b"b")
    assert (bytes(server_wire.written), bytes(client_wire.written)) == (b"12", b"ab")


async def test_a_joined_end_is_read_no_faster_than_the_other_takes() -> None:
    """Back-pressure, both ways."""
    (client, client_wire), (server, server_wire) = laid(), laid()
    client.join(server)
    for slow, source in ((client, server_wire), (server, client_wire)):
        slow.pause_writing()
        assert not source.reading
        slow.resume_writing()
        assert source.reading


async def test_a_source_that_was_stopped_before_the_join_flows_again() -> None:
    """Whoever had sent too much before his login is not left hanging after it."""
    (client, client_wire), (server, _) = laid(), laid()
    client.data_received(b"x" * 70_000)
    assert not client_wire.reading
    client.join(server)
    assert client_wire.reading


@pytest.mark.parametrize("early", [True, False], ids=["before the join", "after it"])
async def test_one_end_takes_the_other_with_it(early: bool) -> None:
    """A client that leaves ends its session, and a session that ends hangs up."""
    for first in (0, 1):
        (client, client_wire), (server, server_wire) = laid(), laid()
        ends = (client, server)
        if early:
            ends[first].eof_received()
        client.join(server)
        if not early:
            ends[first].connection_lost(None)
        assert (server_wire, client_wire)[first].closing
