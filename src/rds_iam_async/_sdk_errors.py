"""The AWS SDK's errors in our words: what happened and what to check, and never what it was about.

An SDK error's text may quote the answer that did not parse, or what a credential process
wrote to standard error; its frames and its chain hold keys in plain variables. So nothing
of it is passed on but its name, a phrase that is known to be harmless, and AWS's own message
where AWS answered with an error.
"""

from __future__ import annotations

import re

from ._errors import CredentialsError

_SAYS_NO_SECRET = frozenset(
    {
        "ClientError",  # "An error occurred (AccessDenied) when calling the AssumeRole operation"
        "ConfigNotFound",
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "InfiniteLoopConfigError",
        "NoCredentialsError",
        "NoRegionError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "ReadTimeoutError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        "UnknownCredentialError",
    }
)

_HARMLESS = re.compile(
    r"[Rr]eceived non 200 response(?: from container metadata)?(?::? \(?\d{3}\b)?"
    r"|Could not connect to the endpoint URL|(?:Connect|Read) timeout"
    r"|[Uu]nable to parse JSON|Unsupported version|Missing required key in response"
    r"|credentials are still expired"
)


def translated(error: Exception) -> CredentialsError:
    """Return what to raise instead of *error*, outside the block that caught it."""
    name = type(error).__name__
    detail = _detail(error)
    return CredentialsError(
        f"no credentials from AWS: {name}{detail and ': '}{detail}", hint=_hint(name)
    )


def _detail(error: Exception) -> str:
    if any(kind.__name__ in _SAYS_NO_SECRET for kind in type(error).__mro__):
        return str(error)
    known = _HARMLESS.search(str(error))
    provider = getattr(error, "kwargs", {}).get("provider", "")
    return " ".join(part for part in (provider, known[0] if known else "") if part)


def _hint(name: str) -> str | None:
    if "SSO" in name or name == "TokenRetrievalError":
        return "run 'aws sso login' with the same profile"
    if name == "ProfileNotFound":
        return "check the profile's name and that the AWS config file is where the app looks"
    return None
