"""The AWS SDK's errors in our words: what happened and what to check, and never what it was about.

An SDK error's text may quote the answer that did not parse, or what a credential process
wrote to standard error; its frames and its chain hold keys in plain variables. So nothing
of it is passed on but its name, a phrase that is known to be harmless, and AWS's own message
where AWS answered with an error.
"""

from __future__ import annotations

import re
from typing import Any

from ._errors import CredentialsError, Reason

_SAYS_NO_SECRET = frozenset(
    {
        "ClientError",  # "An error occurred (AccessDenied) when calling the AssumeRole operation"
        "ConfigNotFound",
        "ConfigParseError",  # of which file, and nothing that is in it
        "ConnectTimeoutError",
        "ConnectionClosedError",
        "EndpointConnectionError",
        "InvalidConfigError",  # names of profiles and settings
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

_HARMLESS = (
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
        f"no credentials from AWS: {name}{detail and ': '}{detail}",
        hint=_hint(name, detail),
        reason=_reason(error, detail),
    )


_REASONS: dict[str, Reason] = {
    "ConfigNotFound": "configuration",
    "ConfigParseError": "configuration",
    "InvalidConfigError": "configuration",
    "ProfileNotFound": "configuration",
    "UnknownCredentialError": "configuration",
    "FileNotFoundError": "configuration",
    "PermissionError": "configuration",
    "NoCredentialsError": "no_credentials",
    "PartialCredentialsError": "no_credentials",
    "SSOError": "expired",  # of several: the login has to be renewed
    "TokenRetrievalError": "expired",
    "ConnectTimeoutError": "timeout",
    "ReadTimeoutError": "timeout",
    "ConnectionError": "unreachable",  # the SDK's and Python's: refused, closed, no such host
    "HTTPClientError": "unreachable",
    "ResponseParserError": "bad_answer",
    "JSONDecodeError": "bad_answer",
}
"""By the SDK's class, its own before its parents'."""

_CODES: tuple[tuple[str, Reason], ...] = (
    ("throttl|too ?many|limit ?exceeded|slow ?down", "throttled"),
    ("expired", "expired"),
    ("denied|unauthori|forbidden|not ?authori|invalid|unrecognized", "access_denied"),
    ("internal|unavailable|server", "server_error"),
)
"""By words of AWS's error code: https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html"""


_STATUSES: dict[str, Reason] = {
    "401": "access_denied",
    "403": "access_denied",
    "429": "throttled",
}
"""By what a container's agent or an instance's metadata service answers."""


def _reason(error: Exception, detail: str) -> Reason:
    code = _code(error)
    for words, reason in _CODES:
        if re.search(words, code, re.IGNORECASE):
            return reason
    for kind in type(error).__mro__:
        if kind.__name__ in _REASONS:
            return _REASONS[kind.__name__]
    if code or not detail:
        return "_OTHER"
    if (status := re.search(r"(?<!non )\b[1-5]\d\d\b", detail)) is not None:
        return _STATUSES.get(status[0], "server_error" if status[0] >= "500" else "bad_answer")
    if "timeout" in detail.lower():
        return "timeout"
    if "Could not connect" in detail:
        return "unreachable"
    return "expired" if "expired" in detail else "bad_answer"


def _code(error: Any) -> str:
    """Return AWS's error code, if AWS answered at all."""
    try:
        return str(error.response["Error"]["Code"])
    except (AttributeError, KeyError, TypeError):  # of a connection the response is None
        return ""


def _detail(error: Exception) -> str:
    if any(kind.__name__ in _SAYS_NO_SECRET for kind in type(error).__mro__):
        return str(error)
    if isinstance(error, OSError) and isinstance(error.filename, str):
        return f"{error.strerror}: {error.filename!r}"
    known = re.search(_HARMLESS, str(error))
    provider = getattr(error, "kwargs", {}).get("provider", "")
    return " ".join(part for part in (provider, known[0] if known else "") if part)


def _hint(name: str, detail: str) -> str | None:
    if "SSO" in name or name == "TokenRetrievalError":
        return "run 'aws sso login' with the same profile"
    if name == "ProfileNotFound":
        return "check the profile's name and that the AWS config file is where the app looks"
    if name in ("FileNotFoundError", "PermissionError"):
        return (
            "check that the app's user may read or run it: AWS_WEB_IDENTITY_TOKEN_FILE, "
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE or the profile's credential_process names it"
        )
    if detail.startswith("custom-process"):
        return "run the profile's credential_process by hand: what it says may hold keys"
    if "still expired" in detail:
        return "renew them: 'aws sso login', or whatever sets AWS_CREDENTIAL_EXPIRATION beside them"
    return None
