"""Keeps the AWS SDK's log quiet while it handles our keys.

botocore writes whole response bodies, and so the keys that STS hands out, to its DEBUG
log; and where it found them to INFO, at each look, a thousand times in an hour without AWS.
The filter drops such records only where they come from our own look at the chain:
the application's SDK calls are logged as before.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Callable, Generator

_SDK = frozenset({"aioboto3", "aiobotocore", "boto3", "botocore", "aiohttp", "httpx", "urllib3"})

_looking: contextvars.ContextVar[bool] = contextvars.ContextVar("_looking", default=False)


class _DropOurs(logging.Filter):
    """Refuses what is logged up to INFO in a context that is `_looking`; bares the rest."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not _looking.get():
            return True
        # A warning about a failed refresh comes with a traceback, whose exception may quote
        # the answer that did not parse. Our own event says what failed.
        record.exc_info = record.exc_text = None
        return record.levelno > logging.INFO


_drop_ours = _DropOurs()


@contextlib.contextmanager
def quiet_sdk() -> Generator[Callable[[], None]]:
    """Silence the SDK's DEBUG and INFO records of this context until the block is left.

    A filter of a logger does not see its children's records, so each logger that the SDK
    has by now gets it. Call what is yielded once more after importing the SDK.
    """
    _filter_all()
    entered = _looking.set(True)
    try:
        yield _filter_all
    finally:
        _looking.reset(entered)


def _filter_all() -> None:
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _SDK:
            logger.addFilter(_drop_ours)  # a second time does nothing
