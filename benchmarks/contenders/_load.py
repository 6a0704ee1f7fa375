"""What all contenders have in common: open connections when told to, and say how long each took.

A contender is a program of its own. It is told by its environment where the database is,
opens an engine in its own way, and then obeys: a line of JSON on stdin says when to
connect, a line on stdout tells how that went. It needs SQLAlchemy and botocore only, so that
it runs in whatever environment a package wants.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

WARM_UP = 5
PATIENCE = 10.0
"""Seconds after which a connection counts as failed, as in most applications."""
TICK = 0.001

events: list[tuple[str, float]] = []
"""What a contender tells of itself, and when by the machine's monotonic clock."""

Outcome = tuple[float, float, str | None]
"""When the connection was due, how many seconds after that it was there, and what went wrong."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the database is, and how to be let in.

    Attributes:
        url: As an application has it: an RDS name, no password.
        region: Of the database.
        ca_file: Whom to trust.
        password: What a static password is, where one is used.
        scale: By how much life is longer than here: 300 means that the quarter of an hour
            of a token takes 3 s.
    """

    url: URL
    region: str
    ca_file: str
    password: str
    scale: float

    @property
    def host(self) -> str:
        return str(self.url.host)

    @property
    def port(self) -> int:
        return int(self.url.port or 5432)

    @property
    def user(self) -> str:
        return str(self.url.username)

    def tls(self) -> ssl.SSLContext:
        """Return one verifying context, made once and kept, as an application should."""
        return ssl.create_default_context(cafile=self.ca_file)


Opener = Callable[[Place], AbstractAsyncContextManager[AsyncEngine]]


def serve(open_engine: Opener) -> None:
    """Be a contender: open an engine, obey until stdin ends."""
    place = Place(
        url=make_url(os.environ["BENCH_URL"]),
        region=os.environ["AWS_REGION"],
        ca_file=os.environ["RDS_IAM_CA_FILE"],
        password=os.environ["BENCH_PASSWORD"],
        scale=float(os.environ["BENCH_SCALE"]),
    )
    resolve_to_loopback(place.host)
    shorten_botocores_windows(place.scale)
    try:
        asyncio.run(_serve(open_engine, place))
    except Exception as error:  # of whatever package: the runner reports it
        tell({"broken": kind(error)})


def resolve_to_loopback(host: str) -> None:
    """Be the DNS: the local RDS has the name of a real one, which packages insist on."""
    look_up: Any = socket.getaddrinfo

    def getaddrinfo(name: Any, *args: Any, **kwargs: Any) -> Any:
        return look_up("127.0.0.1" if name in (host, host.encode()) else name, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]


def shorten_botocores_windows(scale: float) -> None:
    """Let botocore renew keys as long before their end as it would if they lived for hours.

    It has constants for that, and no setting. With keys that live for seconds it would
    fetch new ones for each signature, which is not what it does in production.
    """
    from botocore.credentials import RefreshableCredentials

    keys: Any = RefreshableCredentials
    keys._advisory_refresh_timeout /= scale
    keys._mandatory_refresh_timeout /= scale


async def _serve(open_engine: Opener, place: Place) -> None:
    async with open_engine(place) as engine:
        warm = [await connect(engine, time.monotonic()) for _ in range(WARM_UP)]
        # One full collection of what imports left behind stops a process for 60 ms or more:
        # the figures would show on whose turn it fell.
        gc.collect()
        gc.freeze()
        tell({"warm_up": warm})
        while line := await asyncio.to_thread(sys.stdin.readline):
            tell(await answer(engine, json.loads(line)))


async def answer(engine: AsyncEngine, told: dict[str, Any]) -> Any:
    """Do as *told*: connect at the given instants, and watch the loop if that is wanted."""
    late: list[tuple[float, float]] = []
    ticking = asyncio.create_task(tick(late)) if told["watch"] else None
    spent = time.process_time()
    events.clear()
    outcomes = await pour(engine, told["at"])
    spent = time.process_time() - spent
    if ticking is not None:
        ticking.cancel()
    late = [item for item in late if item[1] > TICK / 2]
    return {"outcomes": outcomes, "cpu": spent, "late": late, "events": events}


async def pour(engine: AsyncEngine, at: Sequence[float]) -> list[Outcome]:
    """Open connections, each at its instant, whatever has become of those before.

    Args:
        engine: Whose.
        at: The instants, of the machine's monotonic clock.
    """
    connects = []
    for due in at:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        connects.append(asyncio.create_task(connect(engine, due)))
    return list(await asyncio.gather(*connects))


async def connect(engine: AsyncEngine, due: float) -> Outcome:
    """Open a connection and let it do the least; *due* is when somebody wanted it."""
    try:
        async with asyncio.timeout(PATIENCE), engine.connect() as connection:
            await connection.execute(text("select 1"))
            took = time.monotonic() - due
    except Exception as error:  # of whatever kind: an application would have felt it
        return due, time.monotonic() - due, kind(error)
    return due, took, None


async def tick(late: list[tuple[float, float]]) -> None:
    """Want to run every millisecond; note the instant (wall clock), and how late it was."""
    while True:
        due = time.perf_counter() + TICK
        await asyncio.sleep(TICK)
        late.append((time.time(), time.perf_counter() - due))


def kind(error: BaseException) -> str:
    """Return what went wrong, in a line that shows no secret, and no path of this machine."""
    root = error
    while (cause := root.__cause__ or root.__context__) is not None:
        root = cause
    said = re.sub(r"/\S*/", "…/", (str(root).splitlines() or [""])[0])[:160]
    names = dict.fromkeys((type(error).__name__, type(root).__name__))
    return ": ".join((*names, "…" if "X-Amz-" in said else said))


def tell(what: Any) -> None:
    print(json.dumps(what), flush=True)
