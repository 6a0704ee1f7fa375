"""The nouns: who connects where, who signs, and the token that results."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from ._errors import ConfigurationError

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_YEAR_5000 = 95_617_584_000.0
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")


class Secret(str):
    """A string that its `repr` does not show.

    It is a real `str`: drivers take it, `encode()` gives the plain bytes and
    `str()` the plain text. What shows values by `repr` (tracebacks with locals,
    dataclasses, dictionaries, error reporters) shows `<secret>` instead.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One database user at one address: what a token is good for.

    Attributes:
        host: The name that is *signed*, lower-cased and without a trailing dot:
            AWS's own signer lower-cases it (botocore `auth.py`, `_host_from_url`),
            and a token for another spelling may be refused.
        port: 1 to 65535.
        user: The database user, exactly as in the database.
        region: The AWS region that holds the database.

    Raises:
        ConfigurationError: When a part is empty, malformed or out of range.
    """

    host: str
    port: int
    user: str
    region: str

    def __post_init__(self) -> None:
        host = _text("host", self.host).lower().removesuffix(".")
        if not _HOST.fullmatch(host) or len(host) > 253:
            # A URL in its place may have a password.
            shown = "" if "@" in host else f" {self.host!r}"
            raise ConfigurationError(
                f"the host{shown} is not a host name",
                hint="pass the RDS endpoint's DNS name, without scheme or port",
            )
        object.__setattr__(self, "host", host)
        if type(self.port) is not int or not 1 <= self.port <= 65535:
            raise ConfigurationError(
                f"port {self.port!r} is not a whole number from 1 to 65535",
                hint="pass the database's port, such as 5432",
            )
        user = _text("user", self.user)
        if "\0" in user or not _encodable(user):
            raise ConfigurationError(
                f"user {self.user!r} holds a character that no database user can have",
                hint="pass the database user that was granted rds_iam",
            )
        if not _REGION.fullmatch(_text("region", self.region)):
            raise ConfigurationError(
                f"region {self.region!r} is not an AWS region",
                hint="pass a region code such as 'eu-west-1'",
            )

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port} ({self.region})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """AWS keys at one moment: an immutable snapshot to sign with.

    Attributes:
        access_key_id: The public half of the key.
        secret_access_key: The secret half. Kept out of `repr`.
        session_token: What temporary credentials carry besides. Kept out of `repr`.
        expires_at: Unix seconds; `None` when no end is known.

    Raises:
        ConfigurationError: When a part is empty or holds a character that no AWS
            key has (a line end from a file, say), or the expiry is not a number.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None

    def __post_init__(self) -> None:
        for name in ("access_key_id", "secret_access_key", "session_token"):
            value = getattr(self, name)
            if value is None and name == "session_token":
                continue
            if not isinstance(value, str) or not _VISIBLE_ASCII.fullmatch(value):
                raise ConfigurationError(
                    f"{name} is empty or holds a character that no AWS key has",
                    hint="check for blanks and line ends where the key was read from",
                )
            if name != "access_key_id":
                object.__setattr__(self, name, Secret(value))
        if self.expires_at is not None and not _is_instant(self.expires_at):
            raise ConfigurationError(
                f"expires_at {self.expires_at!r} is not an instant in Unix seconds",
                hint="pass datetime.timestamp(), or None when no end is known",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One password for one endpoint, good until a fixed instant.

    Times are Unix seconds in UTC. Open connections outlive the token: RDS checks
    it only while a connection is being opened.

    Attributes:
        endpoint: The only endpoint that accepts it.
        password: The presigned URL without its scheme. Kept out of `repr`.
        minted_at: When it was signed, to the second, as X-Amz-Date says it.
        expires_at: The first instant at which it is not used any more.

    Source:
        "Each token has a lifetime of 15 minutes":
        https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
    """

    endpoint: Endpoint
    password: str = field(repr=False)
    minted_at: float
    expires_at: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "password", Secret(self.password))


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{name} is empty", hint=f"pass a {name}")
    return value


def _is_instant(value: Any) -> bool:
    # Milliseconds, a common slip, would make dying keys immortal.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and abs(value) < _YEAR_5000


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
