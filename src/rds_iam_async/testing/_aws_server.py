"""Answers AWS's SDKs over HTTP on loopback, or fails them as it was told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import replace
from email.utils import formatdate
from typing import Literal

from .._loop_thread import LoopThread
from ._aws_documents import Denied
from ._aws_endpoints import door
from ._call_log import Call, CallLog
from ._http import Answer, Request, read_request, send_answer, wait_until_gone
from ._issuer import Issuer
from ._listener import Listener
from ._passes import Passes

Failure = Literal["500", "403", "refused", "hang", "garbage", "truncated"]

_GARBAGE = "<<< this is not the answer that you are looking for"
_FAULTS = {
    "500": Denied(500, "InternalFailure", "An internal error occurred"),
    "403": Denied(403, "AccessDenied", "User is not authorized"),
}


class AwsServer:
    """One port with all of AWS's doors. Runs in a thread with a loop of its own.

    Attributes:
        delay: Seconds that pass before each answer.
        port: The port; the same one after a restart.
    """

    def __init__(self, passes: Passes, issuer: Issuer, calls: CallLog) -> None:
        self.delay = 0.0
        self.port = 0
        self._failure: Failure | None = None
        self._passes = passes
        self._issuer = issuer
        self._calls = calls
        self._running: tuple[LoopThread, Listener] | None = None

    @property
    def failure(self) -> Failure | None:
        """What goes wrong with each call."""
        return self._failure

    @failure.setter
    def failure(self, value: Failure | None) -> None:
        self._failure = value
        if self._running is not None:
            thread, listener = self._running
            thread.run(listener.pause() if value == "refused" else listener.resume())

    def start(self) -> None:
        """Take a port and listen."""
        listener = Listener(self.port)
        self.port = listener.port
        self._running = thread, _ = LoopThread("rds_iam_async local AWS"), listener
        thread.run(listener.open(self._serve))
        self.failure = self._failure

    def stop(self) -> None:
        """End all connections, and the thread."""
        if self._running is not None:
            (thread, listener), self._running = self._running, None
            thread.run(listener.close())
            thread.stop()

    async def _serve(self, client: socket.socket) -> None:
        # Who leaves early, or sends nonsense, is left without an answer.
        with contextlib.suppress(OSError, ValueError):
            request = await read_request(client)
            if request is None:
                return
            answer = await self._answer(request)
            if answer is None:
                await wait_until_gone(client)
            else:
                date = formatdate(self._issuer.now(), usegmt=True)
                headers = {**answer.headers, "Date": date}
                await send_answer(client, replace(answer, headers=headers))

    async def _answer(self, request: Request) -> Answer | None:
        """Return the answer to *request*; `None` means never."""
        found = door(request, self._passes)
        self._calls.append(Call(kind=found.kind, at=time.time()))
        if self.delay:
            await asyncio.sleep(self.delay)
        failure = self._failure
        if failure == "hang":
            return None
        if failure in _FAULTS:
            return found.error(_FAULTS[failure])
        try:
            answer = found.open(request, self._passes, self._issuer)
        except Denied as denied:
            return found.error(denied)
        return _spoiled(answer, failure)


def _spoiled(answer: Answer, failure: Failure | None) -> Answer:
    # A role's name or a session token is of no use here: the keys have to be got to.
    if failure is None or answer.body[0] not in "{<":
        return answer
    # Cut after the keys: who quotes what he cannot parse shows them.
    return replace(answer, body=_GARBAGE if failure == "garbage" else answer.body[:-10])
