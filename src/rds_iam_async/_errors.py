"""Every error this library raises on purpose.

RdsIamError
├── ConfigurationError     before any I/O: the call itself is wrong
├── MintError              a token could not be made this time; worth retrying
│   └── CredentialsError   AWS gave us no credentials to sign with
└── TokenUnavailableError  a connection was wanted while no usable token could be had
"""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "access_denied",
    "bad_answer",
    "configuration",
    "expired",
    "no_credentials",
    "server_error",
    "throttled",
    "timeout",
    "unreachable",
    "_OTHER",
]
"""Why, in one word of a small closed set, for metrics. The last one is OpenTelemetry's own."""


class RdsIamError(Exception):
    """Root of this library's errors.

    Attributes:
        hint: What to check or change. Never empty, never a secret.
        reason: Why, in one word that a metric can carry.
    """

    default_hint = "run with DEBUG logging for the logger 'rds_iam_async' to see each step"
    default_reason: Reason = "_OTHER"

    def __init__(
        self, message: str, *, hint: str | None = None, reason: Reason | None = None
    ) -> None:
        super().__init__(message)
        self.hint: str = hint or self.default_hint
        self.reason: Reason = reason or self.default_reason

    def __str__(self) -> str:
        return f"{super().__str__()} (hint: {self.hint})"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, which
        # multiprocessing and Celery use to carry errors home.
        return _rebuild, (type(self), self.args[0], self.hint, self.reason)


class ConfigurationError(RdsIamError):
    """The call or the configuration is wrong; nothing was sent."""

    default_hint = "correct the argument that the message names"
    default_reason: Reason = "configuration"


class MintError(RdsIamError):
    """A token could not be made this time; it may be possible later."""

    default_hint = "see the cause; the refresher goes on trying"


class CredentialsError(MintError):
    """AWS gave no credentials to sign with."""

    default_hint = (
        "check that the AWS credential chain works where the app runs: "
        "'aws sts get-caller-identity' with the same profile and environment"
    )


class TokenUnavailableError(RdsIamError):
    """A connection was wanted while no usable token could be had."""

    default_hint = "see the cause; the next connect tries again"


def _rebuild(kind: type[RdsIamError], message: str, hint: str, reason: Reason) -> RdsIamError:
    return kind(message, hint=hint, reason=reason)
