"""The current password as a callable, for drivers without SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._connect import unavailable
from ._errors import MintError
from ._supply import TokenSupply
from ._token import Token
from ._verification import Verification


class CurrentPassword:
    """An async callable, for an async driver's `password=`."""

    def __init__(self, supply: TokenSupply) -> None:
        self._supply = supply

    async def __call__(self) -> str:
        password = self._supply.read()
        if password is not None:
            return password
        try:
            return (await self._supply.obtain()).password
        except MintError as error:
            raise unavailable(self._supply.endpoint, error) from error

    def __repr__(self) -> str:
        return f"<current IAM token for {self._supply.endpoint}>"


class LibpqArguments:
    """An async callable, for psycopg: all that a connection needs but the database's name."""

    def __init__(self, supply: TokenSupply, verification: Verification) -> None:
        self._password = CurrentPassword(supply)
        self._endpoint = supply.endpoint
        self._verification = verification

    async def __call__(self) -> dict[str, Any]:
        endpoint = self._endpoint
        return {
            "host": endpoint.host,
            "port": endpoint.port,
            "user": endpoint.user,
            "password": await self._password(),
            **await self._verification.ready(),
        }

    def __repr__(self) -> str:
        return f"<current arguments for {self._endpoint}>"


class BlockingPassword:
    """A callable, for whoever opens connections in a thread."""

    def __init__(self, supply: TokenSupply, obtain: Callable[[], Token]) -> None:
        """Take whose password it is, and what mints one while the caller blocks."""
        self._supply = supply
        self._obtain = obtain

    def __call__(self) -> str:
        password = self._supply.read()
        if password is not None:
            return password
        try:
            return self._obtain().password
        except MintError as error:
            raise unavailable(self._supply.endpoint, error) from error

    def __repr__(self) -> str:
        return f"<current IAM token for {self._supply.endpoint}>"
