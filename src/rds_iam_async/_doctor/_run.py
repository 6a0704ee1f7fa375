"""The examination: which check comes after which, and what it needs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from ._case import Case
from ._finding import Diagnosis, Finding, skipped
from ._subject import Subject
from ._user import NAME as IAM_USER


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    run: Callable[[Case], Awaitable[Finding]]
    needs: tuple[str, ...] = ()


_CHECKS = (
    _Check("credentials", Case.credentials),
    _Check("lifetime", Case.lifetime, ("credentials",)),
    # Before the identity: STS calls a signature of the wrong time a wrong signature.
    _Check("clock", Case.clock, ("credentials", "lifetime")),
    _Check("identity", Case.identity, ("clock",)),
    _Check("region", Case.region_found),
    _Check("host", Case.host),
    _Check("address", Case.address),
    _Check("port", Case.port, ("address",)),
    _Check("CA file", Case.trust),
    _Check("TLS", Case.tls, ("port", "CA file")),
    _Check("certificate", Case.certificate, ("TLS",)),
    _Check("signed name", Case.signed_name, ("certificate",)),
    _Check(IAM_USER, Case.iam_user, ("certificate",)),
    _Check("token", Case.token, ("identity", "region", "host")),
    _Check("login", Case.login, ("token", "signed name", IAM_USER)),
    _Check("rds_iam", Case.membership, ("login",)),
    _Check("policy", Case.allowed, ("login",)),
)


async def examine(subject: Subject) -> AsyncGenerator[Finding | Diagnosis]:
    """Yield what each check finds, as it does, and at last all of it together."""
    case = Case(subject)
    await case.prepare()
    findings: dict[str, Finding] = {}
    for check in _CHECKS:
        lacks = next(
            (name for name in check.needs if findings[name].verdict in ("FAIL", "skipped")), None
        )
        if lacks is not None:
            findings[check.name] = skipped(check.name, needs=lacks)
        else:
            findings[check.name] = await check.run(case)
        yield findings[check.name]
    yield case.diagnosis(tuple(findings.values()))
