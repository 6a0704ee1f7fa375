"""Takes away what a traceback with locals would show."""

from __future__ import annotations


def forget_frames(error: BaseException) -> None:
    """Let *error*, and what it was raised from, forget the frames that it came through.

    A driver's own frames may hold the token in the plain: as the bytes that it sends, or in
    the connection string that it makes. What the error says stays.
    """
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            # PyMySQL keeps the error below in an attribute of its own.
            waiting += [one.__cause__, one.__context__, getattr(one, "original_exception", None)]
