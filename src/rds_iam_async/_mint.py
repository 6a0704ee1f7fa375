"""Endpoint, credentials and an instant in; one token out. Nothing is read, sent or logged.

botocore signs the same bytes, but reads the clock itself and writes the canonical
request and the signature to its DEBUG log, from which the token can be put together
again. botocore is the oracle in the tests.

Source:
    Signature Version 4, query string form:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    The request that an RDS token stands for: botocore `signers.py`,
    `generate_db_auth_token`.
"""

from __future__ import annotations

import hmac
import math
import time
from hashlib import sha256
from urllib.parse import quote

from ._token import Credentials, Endpoint, Token

SIGNED_SECONDS = 900
"""What every token says of its own life: RDS refuses more (aws-sdk-java#2617)."""

_SERVICE = "rds-db"
_EMPTY_BODY = sha256(b"").hexdigest()


def mint(
    endpoint: Endpoint,
    credentials: Credentials,
    *,
    now: float,
    lifetime: float = SIGNED_SECONDS,
) -> Token:
    """Sign a token for *endpoint* at *now*.

    Args:
        endpoint: Who will connect, and where.
        credentials: Who vouches.
        now: Unix seconds, read before the call; cut to the whole second that the
            token itself carries, so that its life is never overstated.
        lifetime: How long to use it at most, in seconds; what is signed always
            says 900.

    Returns:
        A token that ends with its lifetime or its credentials, whichever is first:
        AWS honours no signature longer than the key that made it.
    """
    minted_at = float(math.floor(now))
    expires_at = minted_at + lifetime
    if credentials.expires_at is not None:
        expires_at = min(expires_at, credentials.expires_at)
    return Token(
        endpoint=endpoint,
        password=_sign(endpoint, credentials, int(minted_at)),
        minted_at=minted_at,
        expires_at=expires_at,
    )


def _sign(endpoint: Endpoint, credentials: Credentials, second: int) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
    scope = f"{stamp[:8]}/{endpoint.region}/{_SERVICE}/aws4_request"
    before = (
        f"Action=connect&DBUser={_quote(endpoint.user)}"
        "&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Credential={_quote(f'{credentials.access_key_id}/{scope}')}"
        f"&X-Amz-Date={stamp}&X-Amz-Expires={SIGNED_SECONDS}"
    )
    headers = "&X-Amz-SignedHeaders=host"
    session = ""
    if credentials.session_token is not None:
        session = f"&X-Amz-Security-Token={_quote(credentials.session_token)}"
    # The canonical query is in alphabetical order, where the session token stands
    # before the signed headers; botocore sends it after them.
    request = "\n".join(
        ("GET", "/", before + session + headers, f"host:{_host(endpoint)}", "", "host", _EMPTY_BODY)
    )
    to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, sha256(request.encode()).hexdigest()))
    key = b"AWS4" + credentials.secret_access_key.encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    address = f"{endpoint.host}:{endpoint.port}"
    return f"{address}/?{before}{headers}{session}&X-Amz-Signature={key.hex()}"


def _host(endpoint: Endpoint) -> str:
    # The default port of https is no part of the Host header (RFC 9110, 4.2.2).
    return endpoint.host if endpoint.port == 443 else f"{endpoint.host}:{endpoint.port}"


def _quote(text: str) -> str:
    # RFC 3986's unreserved characters stay: `quote` knows letters, digits and _.-~.
    return quote(text, safe="")
