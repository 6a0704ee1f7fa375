"""The one thread of a `ThreadedRefresher`: begun when it is needed, begun anew after a fork."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ._errors import ConfigurationError, MintError
from ._loop_thread import LoopThread

T = TypeVar("T")

_NAME = "rds_iam_async"


class Background:
    """Runs coroutines for threads that block until they are done.

    Connections that find a token in the slot never come here.
    """

    def __init__(self) -> None:
        # Reentrant: a signal handler may connect while its thread is in here.
        self._lock = threading.RLock()
        self._thread: LoopThread | None = None
        self._waiting = 0
        _backgrounds.add(self)

    @property
    def alive(self) -> bool:
        """Whether the thread runs, in this process."""
        thread = self._thread
        return thread is not None and thread.alive

    def run(self, work: Coroutine[Any, Any, T], *, within: float | None) -> T:
        """Run *work* in the thread, beginning that if it is not there; block until it is done.

        Args:
            work: Bounds itself.
            within: The bound on the thread's answer all the same, in seconds: something that
                blocks may be in its way.

        Raises:
            MintError: When the thread was ended meanwhile, gave no answer, or cannot be begun.
            ConfigurationError: In the thread itself, which would wait for itself.
            Exception: What *work* raises, as it is.
        """
        future = self._begin(work)
        try:
            return future.result(within)
        except concurrent.futures.CancelledError:
            raise MintError(
                "the refresher was closed meanwhile",
                hint="connect before it is closed; else the next connect tries again",
            ) from None
        except TimeoutError:
            if future.done():
                raise
            raise MintError(
                f"the refresher's thread gave no answer within {within:g} s",
                hint="let neither an observer nor a credential source block",
            ) from None
        finally:
            future.cancel()  # for who was interrupted; nothing to what is done
            with self._lock:
                self._waiting -= 1

    def call(self, function: Callable[[], T]) -> T:
        """Call *function* where it cannot meet what the loop does: there, if it runs."""
        while True:
            with self._lock:
                thread = self._thread
                if thread is None or not thread.alive or thread.is_current:
                    return function()
                future = thread.begin(_called(function))
            with contextlib.suppress(concurrent.futures.CancelledError):  # it was ended first
                return future.result()

    def post(self, function: Callable[[], object]) -> None:
        """Let *function* be called in the thread soon, beginning that if it is not there.

        Raises:
            MintError: When it cannot be begun.
        """
        with self._lock:
            self._begun().post(function)

    def stop(self, *, within: float) -> None:
        """End the thread and whatever runs there, waiting at most *within* seconds for it."""
        if (thread := self._ended()) is not None:
            thread.join(within)

    def stop_if_idle(self, *, within: float) -> None:
        """End the thread unless somebody waits for what runs there."""
        with self._lock:
            thread = None if self._waiting else self._ended()
        if thread is not None:
            thread.join(within)

    def let_go(self) -> None:
        """End the thread without waiting for its end; also from a finalizer."""
        self._ended()

    def after_fork(self) -> None:
        """Forget the parent's thread, and a lock that another of its threads may have held."""
        self._lock = threading.RLock()
        self._thread = None
        self._waiting = 0

    def _begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        try:
            with self._lock:
                thread = self._begun()
                if thread.is_current:
                    raise ConfigurationError(
                        "the refresher's own thread cannot wait for itself",
                        hint="let an observer note what happened, and connect elsewhere",
                    )
                future = thread.begin(work)
                self._waiting += 1
                return future
        except BaseException:
            work.close()
            raise

    def _ended(self) -> LoopThread | None:
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.end()
        return thread

    def _begun(self) -> LoopThread:
        if self._thread is None or not self._thread.alive:
            try:
                self._thread = LoopThread(_NAME)
            except RuntimeError as error:  # since Python 3.12 an interpreter that exits has none
                raise MintError(
                    f"no thread to mint in: {error}",
                    hint="connect before the interpreter exits; check the limits of threads and "
                    "open files",
                ) from error
        return self._thread


async def _called(function: Callable[[], T]) -> T:
    return function()


_backgrounds: weakref.WeakSet[Background] = weakref.WeakSet()


def _after_fork() -> None:
    for background in list(_backgrounds):
        background.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
