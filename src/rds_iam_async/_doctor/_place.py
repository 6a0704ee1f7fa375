"""Findings about the database's region, its name, and the name that is signed."""

from __future__ import annotations

from collections.abc import Iterable

from .._endpoint import FoundRegion
from .._errors import ConfigurationError
from .._region import doubt_about, is_global_writer, region_of
from ._finding import Finding, failed, ok
from ._subject import Subject


def no_region(error: ConfigurationError) -> Finding:
    """Return that nobody says where the database is."""
    return failed(
        "region", str(error.args[0]), fix="pass --region eu-west-1 or the like, or set AWS_REGION"
    )


def region(subject: Subject, found: FoundRegion) -> Finding:
    """Return where the database is, and who says so."""
    in_name = region_of(subject.signed_host)
    if in_name is not None and in_name != found.region:
        return failed(
            "region",
            f"{found.region}, {found.source}, is wrong: the database is in {in_name}, by its name",
            fix=f"leave --region out, or pass --region {in_name}",
        )
    guess = "" if in_name else "; the host name says none, so make sure"
    return ok("region", f"{found.region}, {found.source}{guess}")


def host(subject: Subject) -> Finding:
    """Return what kind of name is signed."""
    name = subject.signed_host
    if (doubt := doubt_about(name)) is not None:
        if doubt == "an IP address":
            return failed(
                "host",
                f"tokens would be signed for {name}, an IP address, which RDS refuses",
                fix="pass --token-host with the database's RDS name (token_host= in the app)",
            )
        return ok("host", f"{name} is {doubt}: right for a local RDS, not for a real one")
    return ok("host", f"{name} is {_kind(name)}")


def _kind(name: str) -> str:
    if is_global_writer(name):
        return "the writer endpoint of a Global Database"
    kinds = {
        ".proxy-": "an RDS Proxy endpoint",
        ".cluster-ro-": "an Aurora reader endpoint",
        ".cluster-custom-": "a custom Aurora endpoint",
        ".cluster-": "an Aurora cluster endpoint",
    }
    found = next((kind for mark, kind in kinds.items() if mark in name), None)
    return found or "an RDS endpoint"


def signed_name(subject: Subject, *, names: Iterable[str]) -> Finding:
    """Return whether the certificate knows the server by the name that is signed.

    Args:
        subject: Who signs for what.
        names: The certificate's, which has been verified.
    """
    signed = f"{subject.signed_host}:{subject.signed_port}"
    rds_names = [name for name in names if region_of(name)]
    if doubt_about(subject.signed_host) and rds_names:
        return failed(
            "signed name",
            f"tokens are signed for {signed}, but the server's certificate is that of "
            f"{rds_names[0]}, and RDS accepts no other name",
            fix=f"pass --token-host {rds_names[0]} and, if the ports differ, --token-port "
            "(token_host= and token_port= in the app)",
        )
    return ok("signed name", f"tokens are signed for {signed}")
