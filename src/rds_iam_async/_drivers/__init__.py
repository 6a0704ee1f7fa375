"""What each driver calls things: one file for each family, and the table that finds them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .._errors import ConfigurationError
from ._asyncpg import asyncpg_driver
from ._driver import Driver, Said
from ._libpq import psycopg2_driver, psycopg_async_driver, psycopg_driver
from ._mysql import aiomysql_driver, asyncmy_driver, pymysql_driver

__all__ = ["ASYNC_DRIVERS", "SYNC_DRIVERS", "Driver", "Said", "driver_named"]

ASYNC_DRIVERS: dict[str, Callable[[], Driver]] = {
    "postgresql+asyncpg": asyncpg_driver,
    "postgresql+psycopg": psycopg_async_driver,
    "mysql+asyncmy": asyncmy_driver,
    "mysql+aiomysql": aiomysql_driver,
}
"""By SQLAlchemy's name, for `create_async_engine`; called to import the driver."""

SYNC_DRIVERS: dict[str, Callable[[], Driver]] = {
    "postgresql+psycopg": psycopg_driver,
    "postgresql+psycopg2": psycopg2_driver,
    "mysql+pymysql": pymysql_driver,
}
"""Likewise, for `create_engine`."""


def driver_named(name: str, *, is_async: bool) -> Driver:
    """Return the driver that SQLAlchemy calls *name*, importing it.

    Args:
        name: As in a URL, with the driver: `postgresql+asyncpg`. `mariadb` means `mysql`.
        is_async: Whether the engine is an async one; psycopg is known by one name for both.

    Raises:
        ConfigurationError: When there is none in the table.
    """
    table = ASYNC_DRIVERS if is_async else SYNC_DRIVERS
    known = name.replace("mariadb+", "mysql+", 1).removesuffix("_async")
    if known not in table:
        raise ConfigurationError(
            f"the driver {name!r} is not supported",
            hint=f"use one of {', '.join(f'{known}://' for known in table)}",
        )
    return _made(table[known])


@cache
def _made(make: Callable[[], Driver]) -> Driver:
    return make()
