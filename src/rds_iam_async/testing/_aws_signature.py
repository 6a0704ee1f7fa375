"""Judge the signature of a request as AWS's query services do: whose key, when, still good.

The signature is computed anew by botocore's own signer from the headers that were signed.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SigningKey

from .._token import Credentials
from ._aws_documents import Denied
from ._http import Request

SKEW = 300
"""How many seconds a signature's date may be off, either way.

Source:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
"""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)"
    r"/aws4_request, SignedHeaders=(?P<headers>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)


def signer_of(
    request: Request, *, find: Callable[[str], Credentials | None], now: float
) -> Credentials:
    """Return the keys that signed *request*.

    Args:
        request: What came.
        find: Returns the keys of an id, if there are any.
        now: Unix seconds on AWS's clock.

    Raises:
        Denied: In the words of STS.
    """
    said = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    stamp = request.headers.get("x-amz-date", "")
    if said is None or not stamp:
        raise Denied(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
    keys = find(said["key"])
    if keys is None or request.headers.get("x-amz-security-token") != keys.session_token:
        raise Denied(
            403, "InvalidClientTokenId", "The security token included in the request is invalid."
        )
    _check_date(stamp, now=now)
    if not hmac.compare_digest(_signature(request, said, stamp, keys), said["signature"]):
        raise Denied(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )
    if keys.expires_at is not None and now >= keys.expires_at:
        raise Denied(403, "ExpiredToken", "The security token included in the request is expired")
    return keys


def _check_date(stamp: str, *, now: float) -> None:
    dated = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    if dated < now - SKEW:
        is_off = f"expired: {stamp} is now earlier than {_spelt(now - SKEW)}"
    elif dated > now + SKEW:
        is_off = f"not yet current: {stamp} is still later than {_spelt(now + SKEW)}"
    else:
        return
    raise Denied(403, "SignatureDoesNotMatch", f"Signature {is_off} ({_spelt(now)})")


def _spelt(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y%m%dT%H%M%SZ")


def _signature(request: Request, said: re.Match[str], stamp: str, keys: Credentials) -> str:
    signer = SigV4Auth(
        SigningKey(keys.access_key_id, keys.secret_access_key), said["service"], said["region"]
    )
    headers = {name: request.headers.get(name, "") for name in said["headers"].split(";")}
    url = f"http://{headers['host']}{request.path}"
    signed = AWSRequest(request.method, url, headers=headers, data=request.body)
    signed.context["timestamp"] = stamp
    # `add_auth` would do this in one call, and write it all to the DEBUG log.
    text = signer.string_to_sign(signed, signer.canonical_request(signed))
    return str(signer.signature(text, signed))
