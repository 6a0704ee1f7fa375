"""Findings about AWS credentials, their life, the clock and the identity behind them."""

from __future__ import annotations

from .._errors import RdsIamError
from .._mint import SIGNED_SECONDS
from ._aws import Caller, Keys
from ._finding import Finding, failed, ok, unknown

MOST_SKEW = 300.0
"""AWS's allowance for clocks, in seconds.

Source:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
"""

_WORTH_A_WORD = 30.0

_PROVIDERS = {
    "env": "environment variables",
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the AWS config file",
    "assume-role": "STS, by a profile with role_arn",
    "assume-role-with-web-identity": "STS, by a web identity (IRSA)",
    "sso": "IAM Identity Center (SSO)",
    "custom-process": "a credential_process",
    "container-role": "the container agent (ECS, EKS Pod Identity)",
    "iam-role": "the instance's role (EC2 IMDS)",
}

_BAD_KEYS = {
    "ExpiredToken": (
        "the session that these keys belong to has expired",
        "renew it: 'aws sso login', a new role session, or whatever writes these keys",
    ),
    "InvalidClientTokenId": (
        "AWS does not know these keys: deleted, inactive, of another partition, or with the "
        "session token of others",
        "compare with 'aws configure list'; unset an AWS_SESSION_TOKEN left from other keys",
    ),
    "SignatureDoesNotMatch": (
        "the secret key does not belong to the access key id",
        "copy both again; look for characters lost at the end, such as + / =",
    ),
}
_BAD_KEYS["ExpiredTokenException"] = _BAD_KEYS["ExpiredToken"]
_BAD_KEYS["UnrecognizedClientException"] = _BAD_KEYS["InvalidClientTokenId"]


def no_credentials(error: RdsIamError) -> Finding:
    """Return that the chain has no keys, or failed."""
    return failed("credentials", str(error.args[0]), fix=error.hint)


def credentials(keys: Keys) -> Finding:
    """Return who gives the keys."""
    source = _PROVIDERS.get(keys.provider, keys.provider)
    named = f" ({keys.provider})" if source != keys.provider else ""
    return ok("credentials", f"{keys.credentials.access_key_id} from {source}{named}")


def lifetime(keys: Keys, *, now: float) -> Finding:
    """Return how long the keys live.

    Args:
        keys: The keys.
        now: Unix seconds.
    """
    end = keys.credentials.expires_at
    if end is None:
        is_session = keys.credentials.session_token is not None
        return ok(
            "lifetime",
            "a role session whose end is not told here" if is_session else "these keys do not end",
        )
    left = end - now
    if left <= 0:
        return failed(
            "lifetime",
            f"the credentials expired {_spelt(abs(left))} ago",
            fix="renew them: 'aws sso login', or whatever writes these keys",
        )
    shortened = "; tokens end with them" if left < SIGNED_SECONDS else ""
    return ok("lifetime", f"{_spelt(left)} left{shortened}")


def clock(caller: Caller) -> Finding:
    """Return how far this machine's clock is from AWS's."""
    skew = caller.skew
    if skew is None:
        return unknown("clock", f"not compared with AWS's: STS did not answer ({caller.silence})")
    side = "behind" if skew > 0 else "ahead of"
    if abs(skew) > MOST_SKEW:
        return failed(
            "clock",
            f"this machine's clock is {_spelt(abs(skew))} {side} AWS's, which accepts "
            f"{_spelt(MOST_SKEW)}",
            fix="set the clock by NTP: 'timedatectl set-ntp true', 'chronyc makestep'; in a VM or "
            "container, the host's",
        )
    if abs(skew) > _WORTH_A_WORD:
        return ok("clock", f"{_spelt(abs(skew))} {side} AWS's: accepted, but set it by NTP")
    return ok("clock", "agrees with AWS's")


def identity(caller: Caller) -> Finding:
    """Return who the keys belong to."""
    if caller.arn is not None:
        return ok("identity", caller.arn)
    if caller.refusal in _BAD_KEYS:
        said, fix = _BAD_KEYS[caller.refusal]
        return failed("identity", f"{said} (STS: {caller.refusal})", fix=fix)
    if caller.refusal is not None:
        # A policy or an organisation may deny even this, and says nothing about tokens.
        return unknown("identity", f"STS answers {caller.refusal}; tokens need no STS")
    return unknown(
        "identity", f"STS cannot be asked from here ({caller.silence}); tokens need no STS"
    )


def _spelt(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
