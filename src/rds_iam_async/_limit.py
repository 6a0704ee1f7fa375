"""Manners: no more connections a second than AWS likes to authenticate."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from ._errors import ConfigurationError

if TYPE_CHECKING:
    from aiolimiter import AsyncLimiter

_BURST = 0.1
"""A tenth of a second's worth may go at once, so that a small pool fills without waiting."""


class ConnectLimit:
    """Delays connections so that no second sees more than the given rate by over a tenth.

    Source:
        RDS throttles IAM authentication near 200 new connections a second
        (`UsingWithRDS.IAMDBAuth.Troubleshooting`, HTTP status code 429).
    """

    def __init__(self, per_second: float) -> None:
        """Take the rate.

        Raises:
            ConfigurationError: When it is not above 0, or `aiolimiter` is not installed.
        """
        if isinstance(per_second, bool) or not 0 < per_second < float("inf"):
            raise ConfigurationError(
                f"max_connects_per_second={per_second!r} is out of range",
                hint="pass a number above 0, such as 150, or None for no limit",
            )
        try:
            from aiolimiter import AsyncLimiter
        except ImportError as error:
            raise ConfigurationError(
                "max_connects_per_second needs aiolimiter",
                hint="pip install 'rds-iam-async[limit]'",
            ) from error
        self._make = AsyncLimiter
        self._at_once = max(1.0, per_second * _BURST)
        self._period = self._at_once / per_second
        # Per loop, because a limiter's waiters are futures of one.
        self._limiters: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncLimiter] = (
            weakref.WeakKeyDictionary()
        )

    async def wait(self) -> None:
        """Return when one more connection may be dialled; never fails."""
        loop = asyncio.get_running_loop()
        limiter = self._limiters.get(loop)
        if limiter is None:
            limiter = self._limiters[loop] = self._make(self._at_once, self._period)
        await limiter.acquire()
