"""Who wants to connect where, and what is to be signed for it: the call, checked and in parts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from sqlalchemy import URL

from .._credentials import session_of
from .._drivers import ASYNC_DRIVERS, SYNC_DRIVERS, Driver
from .._errors import ConfigurationError
from .._inspect import check_url, parsed
from .._plugin import Arguments, said_in

_USUAL = {
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
    "mysql": "mysql+asyncmy",
    "mariadb": "mysql+asyncmy",
}
"""What a URL that names no driver means."""

_INSTALL = {
    "asyncmy": "pip install 'rds-iam-async[mysql]'",
    "aiomysql": "pip install 'rds-iam-async[mysql]'",
    "psycopg": "pip install 'rds-iam-async[psycopg]'",
    "psycopg2": "pip install 'rds-iam-async[psycopg2]'",
    "pymysql": "pip install 'rds-iam-async[pymysql]'",
}
"""What installs a driver, by its module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined.

    Attributes:
        url: With a driver, and without what is meant for the plugin `rds_iam`.
        driver: The one it names.
        is_async: Whether that is an async one.
        port: What is dialled.
        signed_host: The name that tokens are signed for.
        signed_port: And the port.
        token_host: The caller's word for that name; `None`: it is what is dialled.
        token_port: And for that port.
        region: The caller's word for the region.
        profile: A profile of the AWS config file.
        ca_file: Roots to trust.
        timeout: The bound on each step, in seconds.
    """

    url: URL
    driver: Driver
    is_async: bool
    port: int
    signed_host: str
    signed_port: int
    token_host: str | None
    token_port: int | None
    region: str | None
    profile: str | None
    ca_file: str | None
    timeout: float

    @property
    def family(self) -> Literal["postgresql", "mysql"]:
        """Which protocol is spoken."""
        return "mysql" if self.driver.name.startswith("mysql") else "postgresql"

    @property
    def host(self) -> str:
        """What is dialled."""
        return self.url.host or ""

    @property
    def user(self) -> str:
        """The database user."""
        return self.url.username or ""

    @property
    def session(self) -> Any:
        """What makes the AWS session; `None` for the ordinary chain."""
        return None if self.profile is None else session_of(self.profile)

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}/{self.url.database or ''}"


def subject_of(
    text: str,
    *,
    region: str | None,
    token_host: str | None,
    token_port: int | None,
    profile: str | None,
    ca_file: str | None,
    timeout: float,
) -> Subject:
    """Return what *text* and the options name; an option has the word over the URL.

    Args:
        text: A URL as SQLAlchemy's; without a driver it means asyncpg or asyncmy.
        region: As for `TokenRefresher.attach`, like the others.
        token_host: The RDS name to sign.
        token_port: The port to sign.
        profile: A profile of the AWS config file.
        ca_file: Roots in PEM.
        timeout: The bound on each step, in seconds.

    Raises:
        ConfigurationError: For what `TokenRefresher.attach` refuses in a URL.
    """
    given = parsed(text)
    said = said_in(given.query)
    ours = [f"rds_iam_{field.name}" for field in fields(Arguments)]
    plugins = {"plugin"} if given.query.get("plugin") == "rds_iam" else set[str]()
    url = given.difference_update_query([*ours, *plugins])
    if "+" not in url.drivername:
        url = url.set(drivername=_USUAL.get(url.drivername, url.drivername))
    name = url.drivername.replace("mariadb+", "mysql+").removesuffix("_async")
    is_async = name in ASYNC_DRIVERS or name not in SYNC_DRIVERS  # what is neither is an async typo
    driver = _checked(url, is_async=is_async)
    about_tls = {n: value for n, value in url.query.items() if n in driver.tls_names}
    own_ca_file = driver.understand(about_tls).ca_file
    if own_ca_file is not None and ca_file is not None:
        raise ConfigurationError(
            "the URL and --ca-file both name a CA file", hint="name it once, as your app does"
        )
    port = url.port or driver.default_port
    token_host = token_host or said.token_host
    token_port = token_port or said.token_port
    return Subject(
        url=url,
        driver=driver,
        is_async=is_async,
        port=port,
        signed_host=(token_host or url.host or "").lower().removesuffix("."),
        signed_port=token_port or port,
        token_host=token_host,
        token_port=token_port,
        region=region or said.region,
        profile=profile or said.profile,
        ca_file=own_ca_file or ca_file or said.ca_file,
        timeout=timeout,
    )


def _checked(url: URL, *, is_async: bool) -> Driver:
    try:
        return check_url(url, is_async=is_async)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the URL's driver {error.name} is not installed",
            hint=_INSTALL.get(error.name or "", f"install {error.name}"),
        ) from None
    except ImportError as error:  # of psycopg, where there is no libpq
        why = next(iter(str(error).splitlines()), "")
        raise ConfigurationError(
            f"the URL's driver cannot be imported: {why}",
            hint="install what it is built on, or its binary wheel: pip install 'psycopg[binary]'",
        ) from None
