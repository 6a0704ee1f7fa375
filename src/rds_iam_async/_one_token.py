"""One token on demand, and who signed it for how long: what `rds-iam-async token` prints."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ._credentials import SessionCredentials, session_of
from ._endpoint import find_region
from ._errors import CredentialsError
from ._mint import SIGNED_SECONDS, mint
from ._region import doubt_about, region_of
from ._token import Credentials, Endpoint, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class OneToken:
    """A token, with the credentials that signed it.

    Attributes:
        token: The token.
        credentials: What signed it.
        provider: Where they came from, in botocore's words.
    """

    token: Token
    credentials: Credentials
    provider: str

    def remarks(self, *, now: float) -> list[str]:
        """Return what its user may not expect, in sentences.

        Args:
            now: Unix seconds.
        """
        remarks: list[str] = []
        token = self.token
        if token.expires_at < token.minted_at + SIGNED_SECONDS:
            left = int(token.expires_at - now)
            remarks.append(f"the token ends in {left} s, with the AWS credentials that signed it")
        endpoint = token.endpoint
        if doubt := doubt_about(endpoint.host):
            remarks.append(
                f"{endpoint.host!r} is {doubt}; RDS accepts only tokens for its own name"
            )
        in_name = region_of(endpoint.host)
        if in_name not in (None, endpoint.region):
            remarks.append(
                f"the token is signed for {endpoint.region}, and the database is in {in_name}, by "
                "its name; RDS accepts only tokens for its own region"
            )
        return remarks

    def to_dict(self) -> dict[str, Any]:
        """Return it, the secret included, as plain data that JSON can take."""
        endpoint = self.token.endpoint
        return {
            "token": str(self.token.password),
            "host": endpoint.host,
            "port": endpoint.port,
            "user": endpoint.user,
            "region": endpoint.region,
            "minted_at": self.token.minted_at,
            "expires_at": self.token.expires_at,
            "access_key_id": self.credentials.access_key_id,
            "provider": self.provider,
        }


async def make(
    *, host: str, port: int, user: str, region: str | None, profile: str | None
) -> OneToken:
    """Mint a token with the keys of the ordinary AWS chain.

    Args:
        host: The name to sign.
        port: And the port.
        user: And the database user.
        region: And the region; `None` means what `find_region` finds.
        profile: A profile of the AWS config file; `None` means the environment's.

    Raises:
        ConfigurationError: When there is no such region, profile or endpoint.
        CredentialsError: When AWS gives no keys, or such as have ended.
    """
    session = None if profile is None else session_of(profile)
    found = find_region(host, region=region, session=session)
    endpoint = Endpoint(host=host, port=port, user=user, region=found.region)
    source = SessionCredentials(session)
    credentials = await source.snapshot()
    token = mint(endpoint, credentials, now=time.time())
    if token.expires_at <= time.time():
        raise CredentialsError(f"the AWS keys {credentials.access_key_id} have expired")
    return OneToken(token=token, credentials=credentials, provider=source.provider)
