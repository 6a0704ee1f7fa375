"""What a token says about itself, read without believing any of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_NUMBER = re.compile(r"[0-9]{1,9}")
_NEEDED = (
    "Action",
    "DBUser",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
)


class Refused(Exception):
    """A token is refused.

    Attributes:
        reason: For the server's own log; the client is never told. Quotes nothing
            of a password that does not have the shape of a token.
        access_key_id: The key that the token names, once that much could be read.
        not_before: Unix seconds before which the client must not hear of it.
    """

    def __init__(
        self, reason: str, *, access_key_id: str | None = None, not_before: float = 0.0
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.access_key_id = access_key_id
        self.not_before = not_before


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The parts of one token.

    Attributes:
        netloc: Host and port as they stand in the token.
        parameters: The query, decoded, without the signature.
        signature: What has to be proven.
        scope: Key id, day, region, service and terminator of X-Amz-Credential.
        dated: X-Amz-Date in Unix seconds.
        lifetime: X-Amz-Expires, in seconds.
    """

    netloc: str
    parameters: dict[str, str] = field(repr=False)
    signature: str = field(repr=False)
    scope: tuple[str, str, str, str, str]
    dated: int
    lifetime: int

    @property
    def access_key_id(self) -> str:
        """Return the public half of the key that is said to have signed."""
        return self.scope[0]


def read_claims(token: str) -> Claims:
    """Take *token* apart.

    Raises:
        Refused: When it does not have the shape of a token.
    """
    # `urlsplit` drops line ends and fragments in silence: neither may be there.
    if not _VISIBLE_ASCII.fullmatch(token) or "#" in token:
        raise Refused("not a token: empty, or with a character that no token has")
    try:
        url = urlsplit(f"https://{token}")
        pairs = parse_qsl(url.query, keep_blank_values=True, errors="strict")
    except ValueError:
        raise Refused("not a token: not a URL without its scheme") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise Refused("a parameter is repeated")
    for name in _NEEDED:
        if name not in parameters:
            raise Refused(f"not a token: {name} is missing")
    if url.path not in ("", "/"):  # aws-sdk-go-v2 leaves the slash out (localstack#11507)
        raise Refused("not a token: it has a path")
    return Claims(
        netloc=url.netloc,
        signature=parameters.pop("X-Amz-Signature"),
        parameters=parameters,
        scope=_scope(parameters["X-Amz-Credential"]),
        dated=_dated(parameters["X-Amz-Date"]),
        lifetime=_lifetime(parameters["X-Amz-Expires"]),
    )


def _scope(text: str) -> tuple[str, str, str, str, str]:
    parts = text.split("/")
    if len(parts) != 5 or not all(parts):
        raise Refused("not a token: X-Amz-Credential does not have five parts")
    return parts[0], parts[1], parts[2], parts[3], parts[4]


def _dated(text: str) -> int:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        return int(datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise Refused("not a token: X-Amz-Date is not an instant") from None


def _lifetime(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Refused("not a token: X-Amz-Expires is not a whole number")
    return int(text)
