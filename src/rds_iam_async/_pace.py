"""How a connection spends the time that it has to wait: leaving its loop free, or blocking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from ._limit import ConnectLimit
from ._verification import Verification

T = TypeVar("T")

Listener = Callable[[Any, Any, Any, dict[str, Any]], Any]
"""What SQLAlchemy calls at `do_connect`: with dialect, record, `cargs` and `cparams`."""


class Pace(Protocol):
    """What differs between the connections of async and of sync engines, and nothing else."""

    def listener(self, prepare: Listener) -> Listener:
        """Return the listener, given one that puts `async_creator_fn` into `cparams`."""
        ...

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the outcome of *work*, which bounds itself."""
        ...

    async def turn(self, limit: ConnectLimit) -> None:
        """Wait for the connection's turn, however long that takes."""
        ...

    async def aimed(self, verification: Verification, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return *kwargs* so that the right name is verified."""
        ...

    def dial(self, connect: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Return the connection that the driver's function opens."""
        ...


class InLoop:
    """Of an async engine: everything is awaited."""

    def listener(self, prepare: Listener) -> Listener:
        """Return it as it is: SQLAlchemy's asyncio dialects do the rest."""
        return prepare

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Await it."""
        return await work

    async def turn(self, limit: ConnectLimit) -> None:
        """Await it."""
        await limit.wait()

    async def aimed(self, verification: Verification, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Look up the address without blocking."""
        return await verification.aimed(kwargs)

    def dial(self, connect: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Leave it to be awaited: a coroutine around it would run for each packet of a login."""
        dialling: Awaitable[Any] = connect(*args, **kwargs)
        return dialling
