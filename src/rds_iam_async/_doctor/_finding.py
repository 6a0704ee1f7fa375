"""What a check has found: a fact with its fix, for a person and for JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Verdict = Literal["ok", "FAIL", "unknown", "skipped"]
"""`unknown`: nobody could be asked, which is no failure; `skipped`: what it needs failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that may be the reason of a refusal that says none.

    Attributes:
        what: The reason, in a sentence.
        fix: What to do about it.
    """

    what: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check has found.

    Attributes:
        name: The check's.
        verdict: What that means.
        said: The facts. Never a secret.
        fix: What to do; `None` where nothing is wrong. A line that stands alone is a command.
        causes: What else may be behind it, the likeliest first.
    """

    name: str
    verdict: Verdict
    said: str
    fix: str | None = None
    causes: tuple[Cause, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that JSON can take."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All that was found.

    Attributes:
        endpoint: What was examined, as `user@host:port`.
        findings: In the order of the checks.
        policy: The IAM policy that lets this user log in.
    """

    endpoint: str
    findings: tuple[Finding, ...]
    policy: dict[str, Any]

    @property
    def healthy(self) -> bool:
        """Whether nothing failed, and so nothing was skipped."""
        return all(finding.verdict in ("ok", "unknown") for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that JSON can take."""
        return {
            "endpoint": self.endpoint,
            "ok": self.healthy,
            "checks": [finding.to_dict() for finding in self.findings],
            "policy": self.policy,
        }


def printable(text: str) -> str:
    """Return *text* of somebody who is not trusted, without what commands a terminal."""
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() else "?" for letter in text
    )


def ok(name: str, said: str) -> Finding:
    """Return that all is well."""
    return Finding(name=name, verdict="ok", said=said)


def unknown(name: str, said: str) -> Finding:
    """Return that it could not be found out, which is no failure."""
    return Finding(name=name, verdict="unknown", said=said)


def failed(name: str, said: str, *, fix: str, causes: tuple[Cause, ...] = ()) -> Finding:
    """Return what is wrong, and what to do about it."""
    return Finding(name=name, verdict="FAIL", said=said, fix=fix, causes=causes)


def skipped(name: str, *, needs: str) -> Finding:
    """Return that it was not reached."""
    return Finding(name=name, verdict="skipped", said=f"not reached: needs {needs}")
