"""IAM tokens by URL alone, for code that takes nothing else: SQLAlchemy's plugin `rds_iam`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import URL, CreateEnginePlugin, Engine

from ._credentials import session_of
from ._errors import ConfigurationError
from ._lazy import follow
from ._schedule import FULL_LIFE, RefreshPolicy

_PREFIX = "rds_iam_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What a URL can say; each is `rds_iam_` and the name in it.

    Few on purpose: who can say more can also make a `TokenRefresher`.

    Attributes:
        region: The database's region.
        token_host: The RDS name to sign, where the URL dials something else.
        token_port: The port to sign, likewise.
        profile: A profile of the AWS config file, instead of the ordinary chain.
        ca_file: Roots in PEM to trust, as for `TokenRefresher`.
        lifetime: As in `RefreshPolicy`, for tests with compressed time.
    """

    region: str | None = None
    token_host: str | None = None
    token_port: int | None = None
    profile: str | None = None
    ca_file: str | None = None
    lifetime: float = FULL_LIFE


_KINDS: Mapping[str, Callable[[str], Any]] = {"token_port": int, "lifetime": float}
_KNOWN = tuple(_PREFIX + field.name for field in fields(Arguments))


class RdsIamPlugin(CreateEnginePlugin):
    """Gives an engine tokens, as `TokenRefresher` and `ThreadedRefresher` do.

    Nothing has to be started or closed: the background task (of a sync engine: thread)
    begins with the first connection, ends with `engine.dispose()` and begins again with the
    next connection. `engine.url` has lost the plugin and its arguments, so make another
    engine from the URL that this one was made from.

    Example:
        ```python
        create_async_engine("postgresql+asyncpg://app@db.internal/orders?plugin=rds_iam"
                            "&rds_iam_token_host=mydb.abc.eu-west-1.rds.amazonaws.com")
        ```

    Raises:
        ConfigurationError: Out of `create_engine` and `create_async_engine`: for an argument
            that is unknown, empty, repeated or no number; as `TokenRefresher.attach`.
    """

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        self._said = said_in(url.query)
        self._policy = RefreshPolicy(lifetime=self._said.lifetime)

    def update_url(self, url: URL) -> URL:
        """Take our arguments out, which drivers do not know."""
        return url.difference_update_query(_KNOWN)

    def engine_created(self, engine: Engine) -> None:
        """Give the engine tokens from now on."""
        said = self._said
        follow(
            engine,
            region=said.region,
            token_host=said.token_host,
            token_port=said.token_port,
            session=None if said.profile is None else session_of(said.profile),
            ca_file=said.ca_file,
            policy=self._policy,
        )


def said_in(query: Mapping[str, str | tuple[str, ...]]) -> Arguments:
    """Return what a URL's query arguments say.

    Raises:
        ConfigurationError: For one of ours that is unknown, empty, repeated or no number.
    """
    ours = {name: value for name, value in query.items() if _is_ours(name)}
    for name in ours.keys() - set(_KNOWN):
        raise ConfigurationError(
            f"the URL has {name}=, which the plugin does not know",
            hint=f"it knows {', '.join(_KNOWN)}",
        )
    return Arguments(
        **{name.removeprefix(_PREFIX): _parsed(name, value) for name, value in ours.items()}
    )


def _is_ours(name: str) -> bool:
    return name.lower().replace("-", "_").startswith(_PREFIX.rstrip("_"))


def _parsed(name: str, value: str | tuple[str, ...]) -> Any:
    if not isinstance(value, str):
        raise ConfigurationError(f"the URL repeats {name}=", hint="say it once")
    if not value.strip():
        raise ConfigurationError(
            f"{name}= is empty in the URL", hint="leave it out, or give it a value"
        )
    parse = _KINDS.get(name.removeprefix(_PREFIX), str)
    if parse is int and not (value.isascii() and value.isdigit()):
        raise ConfigurationError(f"{name}={value!r} is no number", hint="write digits")
    try:
        return parse(value)
    except ValueError:
        raise ConfigurationError(f"{name}={value!r} is no number", hint="write digits") from None
