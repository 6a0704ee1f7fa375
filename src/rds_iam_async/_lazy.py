"""A refresher that nobody holds: connections begin it, `engine.dispose()` ends it."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Engine, event
from sqlalchemy.util.concurrency import await_only, in_greenlet

from ._background import Background
from ._errors import MintError
from ._pace import InLoop
from ._schedule import RefreshPolicy
from ._sync_connect import InThread
from ._token import Endpoint
from ._wiring import Wiring
from .telemetry import log_events

_FAREWELL = 2.0
"""How long `dispose()` of a sync engine waits for the thread to end, in seconds."""


def follow(
    engine: Engine,
    *,
    region: str | None,
    token_host: str | None,
    token_port: int | None,
    session: Callable[[], Any] | None,
    ca_file: str | os.PathLike[str] | None,
    policy: RefreshPolicy,
) -> Endpoint:
    """Give *engine* tokens for as long as it lives, and nobody anything to start or to close.

    The first connection that succeeds begins what runs in the background; `dispose()` ends
    it, and the next connection begins it again, in whichever loop or process. Tokens and keys
    stay in hand meanwhile. An engine that is forgotten takes everything with it.

    Args:
        engine: What `create_engine` made, also as a part of an async engine.
        region: As for `TokenRefresher.attach`, like all the others.
        token_host: The RDS name to sign, where the URL dials something else.
        token_port: The port to sign, likewise.
        session: A function that makes an AWS session; `None` for the ordinary chain.
        ca_file: Roots in PEM to trust, as for `TokenRefresher`.
        policy: When to act and how long to wait.

    Returns:
        The endpoint that tokens are minted for.

    Raises:
        ConfigurationError: As `TokenRefresher.attach`.
    """
    background = None if engine.dialect.is_async else Background()
    wiring = Wiring(
        pace=InLoop() if background is None else InThread(background, policy),
        session=session,
        credentials=None,
        region=region,
        ca_file=ca_file,
        tls=None,
        policy=policy,
        observe=log_events,
        max_connects_per_second=None,
        clock=None,
    )
    endpoint = wiring.engines.attach(engine, token_host=token_host, token_port=token_port)
    _tie(engine, _TaskLife(wiring) if background is None else _ThreadLife(wiring, background))
    return endpoint


class _Life(Protocol):
    """What runs beside an engine.

    Attributes:
        let_go: Ends it without waiting; knows neither the wiring nor the engine.
    """

    let_go: Callable[[], None]

    @property
    def running(self) -> bool:
        """Whether it does."""
        ...

    def begin(self) -> None:
        """Let it run. Never fails: a connection can do without."""
        ...

    def rest(self) -> None:
        """End it, and wait for its end where that is possible; connections go on."""
        ...


def _tie(engine: Engine, life: _Life) -> None:
    def connect(connection: Any, record: Any) -> None:
        if not life.running:
            life.begin()

    def engine_disposed(engine: Engine) -> None:
        life.rest()

    event.listen(engine, "connect", connect)
    event.listen(engine, "engine_disposed", engine_disposed)
    # The pool has the first listener, and by way of the wiring the engine: that lives for as
    # long as anything can connect. What runs has neither.
    weakref.finalize(engine, life.let_go).atexit = False


class _TaskLife:
    """Of an async engine: a task in the loop of whoever connects."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._refresher = wiring.refresher
        self.let_go = wiring.refresher.let_go

    @property
    def running(self) -> bool:
        return self._refresher.running

    def begin(self) -> None:
        with contextlib.suppress(RuntimeError):  # no loop: SQLAlchemy will say so
            self._refresher.begin()

    def rest(self) -> None:
        if in_greenlet():  # `await engine.dispose()`
            await_only(self._wiring.rest())
        else:
            self.let_go()


class _ThreadLife:
    """Of a sync engine: a thread, which stays while connections wait for it."""

    def __init__(self, wiring: Wiring, background: Background) -> None:
        self._wiring = wiring
        self._refresher = wiring.refresher
        self._background = background
        self.let_go = background.let_go

    @property
    def running(self) -> bool:
        return self._refresher.running

    def begin(self) -> None:
        with contextlib.suppress(MintError):  # the interpreter exits
            self._background.post(self._refresher.begin)

    def rest(self) -> None:
        if self._background.alive:
            with contextlib.suppress(MintError):  # the thread is stuck, or ended meanwhile
                self._background.run(self._wiring.rest(), within=_FAREWELL)
            self._background.stop_if_idle(within=_FAREWELL)
