"""What became of each login, for the test to read: the client is told nothing."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

# Enough for any test; a demo may run for days.
_KEPT = 10_000

Outcome = Literal["accepted", "denied", "plaintext", "dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One login and what the gate made of it.

    Attributes:
        at: Unix seconds.
        user: The database user, or "" when the client went before naming one.
        outcome: `accepted`; `denied`, the token was refused; `plaintext`, refused for
            want of TLS; `dropped`, the connection ended before the login did.
        reason: Why, in words for a person. Never a token, a key or a password.
        access_key_id: The key that the token names, where that could be read.
    """

    at: float
    user: str
    outcome: Outcome
    reason: str
    access_key_id: str | None = None


class LoginLog:
    """The latest logins, oldest first. Safe to use from any thread.

    A login stands here before its client hears of it. Logins of password users
    do not: PostgreSQL itself judges them.
    """

    def __init__(self, observe: Callable[[Login], None] | None = None) -> None:
        self._observe = observe
        self._logins: deque[Login] = deque(maxlen=_KEPT)
        self._era = object()
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Login]:
        with self._lock:
            return iter(tuple(self._logins))

    def __len__(self) -> int:
        return len(self._logins)

    def begin(self) -> Callable[[Login], None]:
        """Return what adds, at the end, the login that begins now."""
        era = self._era

        def append(login: Login) -> None:
            with self._lock:
                # A client that gave up in one test must not stand in the log of the next.
                if era is self._era:
                    self._logins.append(login)
            if self._observe is not None:
                self._observe(login)

        return append

    def clear(self) -> None:
        """Forget all logins so far, and those that have begun and are not over."""
        with self._lock:
            self._logins.clear()
            self._era = object()
