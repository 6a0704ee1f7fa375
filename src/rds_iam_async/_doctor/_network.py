"""The way to the server: the addresses behind its name, and whether one of them answers."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass

from .._region import doubt_about, region_of
from ._finding import Finding, failed, ok
from ._subject import Subject

_NO_ROUTE = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a name stands for.

    Attributes:
        addresses: In the order in which drivers try them.
        canonical: The name at the end of its aliases, where the resolver tells it.
    """

    addresses: tuple[str, ...]
    canonical: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a connection.

    Attributes:
        address: Where to.
        error: Why there is none; `None` when it was made.
        timed_out: Whether nobody said anything, which is a firewall's way.
        no_route: Whether this machine knows no way there, as where it has no IPv6.
    """

    address: str
    error: str | None
    timed_out: bool = False
    no_route: bool = False


def resolve(host: str, port: int) -> Resolved:
    """Ask the resolver, as drivers do.

    Raises:
        OSError: When it knows no such name, or does not answer.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    canonical = next((item[3] for item in found if item[3]), host)
    addresses = tuple(dict.fromkeys(str(item[4][0]) for item in found))
    return Resolved(addresses=addresses, canonical=canonical.lower().removesuffix("."))


def dial(address: str, port: int, *, timeout: float) -> Answer:
    """Open a connection, and close it."""
    try:
        with contextlib.closing(socket.create_connection((address, port), timeout)):
            return Answer(address=address, error=None)
    except TimeoutError:
        said = f"no answer within {timeout:g} s"
        return Answer(address=address, error=said, timed_out=True)
    except OSError as error:
        no_route = error.errno in _NO_ROUTE
        return Answer(address=address, error=error.strerror or str(error), no_route=no_route)


def no_address(subject: Subject, error: OSError) -> Finding:
    """Return that the name stands for nothing."""
    if error.errno == socket.EAI_AGAIN:
        return no_resolver(subject, error.strerror or "")
    return failed(
        "address",
        f"{subject.host} has no address: {error.strerror or error}",
        fix="check its spelling and that the database still exists; a private name resolves "
        "only inside its VPC, or by way of a resolver that asks there",
    )


def no_resolver(subject: Subject, said: str) -> Finding:
    """Return that nobody says what the name stands for, which may be right."""
    return failed(
        "address",
        f"no resolver answers for {subject.host}: {said}",
        fix="check the network's DNS: /etc/resolv.conf, and the VPC's enableDnsSupport",
    )


def address(subject: Subject, resolved: Resolved) -> Finding:
    """Return what the name stands for; an alias of an RDS name is told from its tunnel."""
    shown = ", ".join(resolved.addresses)
    canonical = resolved.canonical
    is_alias = subject.token_host is None and doubt_about(subject.signed_host)
    if is_alias and region_of(canonical):
        return failed(
            "address",
            f"{subject.host} is an alias of {canonical}, and RDS accepts only tokens that are "
            "signed for a name of its own",
            fix=f"pass --token-host {canonical} (token_host= in the app); of an Aurora cluster, "
            "its cluster endpoint",
        )
    return ok("address", shown)


def port(subject: Subject, answers: tuple[Answer, ...]) -> Finding:
    """Return whether anybody listens."""
    silent = [f"{answer.address}: {answer.error}" for answer in answers if answer.error]
    if len(silent) < len(answers):
        beside = f"; not so {', '.join(silent)}, which drivers may try first" if silent else ""
        return ok("port", f"{subject.port} answers{beside}")
    if any(answer.timed_out for answer in answers):
        fix = (
            f"let the database's security group admit this machine to port {subject.port}; check "
            "network ACLs and routes, and that a database outside the VPC is publicly accessible"
        )
    elif all(answer.no_route for answer in answers):
        fix = "check the subnet's route table, the VPN, VPC peering or transit gateway"
        if all(":" in answer.address for answer in answers):
            fix = f"give this machine IPv6, or {subject.host} an IPv4 address"
    else:
        fix = (
            f"check the port (the database's is in its RDS console), that the database is up, "
            f"and that a tunnel to {subject.host} runs"
        )
    return failed("port", f"{subject.port} does not answer ({'; '.join(silent)})", fix=fix)
