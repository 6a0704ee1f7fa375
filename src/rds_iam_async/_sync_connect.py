"""What a connection of a sync engine sees: the same as an async one's, in blocking steps.

`_connect` decides; here is how its coroutine is run without a loop. It never stops to wait,
because everything that it awaits blocks instead, so one step takes it to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ._background import Background
from ._limit import ConnectLimit
from ._pace import Listener
from ._schedule import FORCED_APART, IMPORT_WAIT, RefreshPolicy
from ._verification import Verification

T = TypeVar("T")

SLACK = 3.0
"""What the thread is given beyond the bounds of its work before it is given up, in seconds."""


class InThread:
    """Of a sync engine: the thread that connects blocks.

    Its listener dials, and returns the connection: SQLAlchemy's sync dialects have no argument
    for who dials, and only there can a refusal be followed by another attempt. So
    `do_connect` listeners of others have to be registered before ours.
    """

    def __init__(self, background: Background, policy: RefreshPolicy) -> None:
        """Take who does what has to be waited for, and what bounds it."""
        self._background = background
        self._policy = policy

    def listener(self, prepare: Listener) -> Listener:
        """Return a listener that prepares, and connects."""

        def do_connect(dialect: Any, record: Any, cargs: Any, cparams: dict[str, Any]) -> Any:
            prepare(dialect, record, cargs, cparams)
            connect = cparams.pop("async_creator_fn")
            return at_once(connect(*cargs, **cparams))

        return do_connect

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Block while the background does it."""
        return self._background.run(work, within=patience(self._policy))

    async def turn(self, limit: ConnectLimit) -> None:
        """Block while the background waits."""
        self._background.run(limit.wait(), within=None)

    async def aimed(self, verification: Verification, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Look up the address, blocking."""
        return verification.aimed_now(kwargs)

    async def dial(self, connect: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return connect(*args, **kwargs)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return the outcome of *work*, which stops nowhere to wait."""
    try:
        work.send(None)
    except StopIteration as end:
        outcome: T = end.value
        return outcome
    work.close()
    raise AssertionError("a blocking step waited for a loop")


def patience(policy: RefreshPolicy) -> float:
    """Return how long a connection waits for the thread, which keeps to the policy's bounds."""
    return IMPORT_WAIT + policy.wait + FORCED_APART + SLACK
