"""What a readiness probe and an operator may know: plain data, no secrets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ._token import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatus:
    """The state of one endpoint at the moment of the call.

    Attributes:
        endpoint: Which.
        ready: Whether it holds a token that can be used now.
        usable_for: For how many more seconds; 0 when it cannot.
        minted_at: When the token in hand was minted, in Unix seconds; `None` without one.
        expires_at: When it ends.
        credentials_expire_at: When the AWS keys in hand end; `None` when no end is known.
        access_key_id: Who signed the token in hand: the public half of the key.
        provider: What gave the keys in hand, in botocore's words.
        mints: Tokens minted so far.
        cold_mints: Those that a connection had to wait for.
        rejections: Tokens that the server refused although they seemed good.
        consecutive_failures: Mints and looks for AWS keys that failed since one last did
            not; above 0 while the token in hand is still good: an early warning.
        last_error: Why the last one failed; `None` after a success.
        next_mint_at: When the next is due; `None` while no background task runs.
    """

    endpoint: Endpoint
    ready: bool
    usable_for: float
    minted_at: float | None
    expires_at: float | None
    credentials_expire_at: float | None
    access_key_id: str | None
    provider: str | None
    mints: int
    cold_mints: int
    rejections: int
    consecutive_failures: int
    last_error: str | None
    next_mint_at: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary that JSON can take."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a refresher at the moment of the call.

    Attributes:
        ready: Whether every attached endpoint holds a usable token; true with none
            attached. It says nothing about the database being up.
        endpoints: One entry for each.
    """

    ready: bool
    endpoints: tuple[EndpointStatus, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary that JSON can take."""
        return {"ready": self.ready, "endpoints": [item.to_dict() for item in self.endpoints]}
