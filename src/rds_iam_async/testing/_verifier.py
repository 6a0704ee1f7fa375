"""Judge a token as AWS does: who signed it, for whom, when, and is that still good.

The signature is computed anew by botocore's own signer from the *decoded*
parameters: their order and spelling differ between AWS's SDKs and do not matter.
"""

from __future__ import annotations

import hmac
import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SigningKey

from .._token import Credentials, Endpoint
from ._claims import Claims, Refused, read_claims

# "Each token has a lifetime of 15 minutes", and AWS refuses a longer claim
# (aws-sdk-go#3903):
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
LONGEST_LIFETIME = 900
# AWS's usual allowance for clocks that go ahead; for RDS it is an assumption:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
SKEW = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrustedKey:
    credentials: Credentials
    users: frozenset[str] | None
    revoked_through: int | None = None


class Verifier:
    """The keys that are trusted now, and what is asked of a token signed by one.

    Safe to use from any thread.

    Attributes:
        lifetime: The longest that a token is good, in seconds after its X-Amz-Date.
    """

    def __init__(self, *, lifetime: float) -> None:
        self.lifetime = lifetime
        self._keys: dict[str, _TrustedKey] = {}
        self._writing = threading.Lock()

    def trust(self, credentials: Credentials, *, users: Iterable[str] | None = None) -> None:
        """Accept tokens signed by *credentials* from now on, until they expire.

        Args:
            credentials: The pair; it replaces one with the same access key id.
            users: The database users that may be named; `None` means any.
        """
        allowed = None if users is None else frozenset(users)
        with self._writing:
            key = _TrustedKey(credentials=credentials, users=allowed)
            self._keys = {**self._keys, credentials.access_key_id: key}

    def distrust(self, access_key_id: str) -> None:
        """Refuse every token of this key from now on."""
        with self._writing:
            self._keys = {name: key for name, key in self._keys.items() if name != access_key_id}

    def revoke(self, now: float) -> None:
        """Refuse what the keys trusted at *now* have signed until *now*.

        A token is dated in whole seconds, so one that is signed later in the same
        second looks as if it had been signed before: it is refused too, and `check`
        says that the refusal must not be heard before that second is over. Whoever
        mints anew when he is refused then gets a later date, and so a good token.
        """
        with self._writing:
            self._keys = {
                name: replace(key, revoked_through=math.floor(now))
                for name, key in self._keys.items()
            }

    def forgive(self) -> None:
        """Undo what `revoke` did, for all keys."""
        with self._writing:
            self._keys = {
                name: replace(key, revoked_through=None) for name, key in self._keys.items()
            }

    def check(self, token: str, endpoint: Endpoint, *, now: float) -> str:
        """Judge one token.

        Args:
            token: What the client sent as its password.
            endpoint: What the token has to be for.
            now: Unix seconds.

        Returns:
            The id of the access key that signed it.

        Raises:
            Refused: With the reason.
        """
        claims = read_claims(token)
        try:
            key = self._keys.get(claims.access_key_id)
            _check_purpose(claims, endpoint)
            if key is None:
                raise Refused(f"access key {claims.access_key_id!r} is not trusted")
            _check_signature(claims, endpoint, key.credentials)
            _check_time(claims, lifetime=self.lifetime, now=now)
            _check_key(key, claims, user=endpoint.user, now=now)
        except Refused as refusal:
            refusal.access_key_id = claims.access_key_id
            raise
        return claims.access_key_id


def _check_purpose(claims: Claims, endpoint: Endpoint) -> None:
    said, (_, day, region, service, terminator) = claims.parameters, claims.scope
    if (said["X-Amz-Algorithm"], said["X-Amz-SignedHeaders"]) != ("AWS4-HMAC-SHA256", "host"):
        raise Refused("not signed over 'host' with AWS4-HMAC-SHA256")
    if (service, terminator) != ("rds-db", "aws4_request"):
        raise Refused(f"signed for service {service!r}")
    if day != said["X-Amz-Date"][:8]:
        raise Refused("signed with the key of another day")
    if region != endpoint.region:
        raise Refused(f"signed for region {region!r}, here it is {endpoint.region!r}")
    if claims.netloc.lower() != f"{endpoint.host}:{endpoint.port}":
        raise Refused(f"signed for {claims.netloc!r}, here it is {endpoint.host}:{endpoint.port}")
    if said["Action"] != "connect":
        raise Refused(f"Action is {said['Action']!r}")
    if said["DBUser"] != endpoint.user:
        raise Refused(f"signed for user {said['DBUser']!r}, not {endpoint.user!r}")


def _check_signature(claims: Claims, endpoint: Endpoint, credentials: Credentials) -> None:
    if claims.parameters.get("X-Amz-Security-Token") != credentials.session_token:
        raise Refused("the session token is not that of the key")
    key = SigningKey(credentials.access_key_id, credentials.secret_access_key)
    signer = SigV4QueryAuth(key, "rds-db", endpoint.region)
    request = AWSRequest("GET", f"https://{claims.netloc}/", params=claims.parameters)
    request.context["timestamp"] = claims.parameters["X-Amz-Date"]
    # `add_auth` would do this in one call, and write it all to the DEBUG log.
    text = signer.string_to_sign(request, signer.canonical_request(request))
    if not hmac.compare_digest(signer.signature(text, request), claims.signature):
        raise Refused("the signature is wrong")


def _check_time(claims: Claims, *, lifetime: float, now: float) -> None:
    if not 1 <= claims.lifetime <= LONGEST_LIFETIME:
        raise Refused(f"X-Amz-Expires is {claims.lifetime}, not 1 to {LONGEST_LIFETIME}")
    if claims.dated - now > SKEW:
        raise Refused(f"dated {claims.dated - now:.1f} s in the future")
    if now >= (end := claims.dated + min(claims.lifetime, lifetime)):
        raise Refused(f"expired {now - end:.3f} s ago")


def _check_key(key: _TrustedKey, claims: Claims, *, user: str, now: float) -> None:
    expires_at, revoked = key.credentials.expires_at, key.revoked_through
    if expires_at is not None and now >= expires_at:
        raise Refused(f"the key that signed it expired {now - expires_at:.3f} s ago")
    if revoked is not None and claims.dated <= revoked:
        raise Refused("revoked", not_before=revoked + 1)
    if key.users is not None and user not in key.users:
        raise Refused(f"the key may not connect as {user!r}")
