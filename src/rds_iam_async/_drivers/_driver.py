"""What has to be known of a driver, and what an engine says about TLS in its words."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from .._errors import ConfigurationError


class Said(NamedTuple):
    """What an engine's URL and `connect_args` say about TLS; none of it weakens anything.

    Attributes:
        ca_file: The roots that they name.
        context: The verifying context that they hold.
        keep: Arguments to hand on as they are, beside those that verify the server.
    """

    ca_file: str | None = None
    context: ssl.SSLContext | None = None
    keep: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Driver:
    """One driver's names and habits.

    Attributes:
        name: SQLAlchemy's name for dialect and driver.
        default_port: Dialled when the URL names none.
        connect: The driver's own function; a coroutine function of an async driver. It does
            not let a password go before TLS is up.
        reserved: Arguments that say who connects where, which the URL has said.
        tls_names: Arguments about TLS.
        understand: Returns what such arguments say; raises `ConfigurationError` for what
            would let a token go to a server that was not verified.
        takes_context: Whether it takes an `ssl.SSLContext`, and not only a file of roots.
        alpn: The protocol to name in the TLS handshake.
        tls_arguments: What to connect with, given the context, or the file's path.
        is_refusal: Whether an error says that the server refused the password.
        explained: A plainer error for one that a user of IAM cannot understand, given the
            database user; `None` where the driver's own says it.
        shows_password: Whether frames of its own hold the password in the plain, where a
            traceback with locals would show it.
    """

    name: str
    default_port: int
    connect: Callable[..., Any]
    reserved: frozenset[str]
    tls_names: frozenset[str]
    understand: Callable[[Mapping[str, Any]], Said]
    takes_context: bool = True
    alpn: str | None = None
    tls_arguments: Callable[[Any], dict[str, Any]]
    is_refusal: Callable[[BaseException], bool]
    explained: Callable[[BaseException, str], Exception | None]
    shows_password: bool = False


def not_verified(name: str, value: object, instead: str) -> ConfigurationError:
    """Return the refusal of an argument that would weaken TLS."""
    return ConfigurationError(
        f"{name}={value!r} does not make sure that the token goes to your database only",
        hint=f"leave {name} out (TLS is verified, host name included); {instead}",
    )


def verified(name: str, context: ssl.SSLContext) -> ssl.SSLContext:
    """Return *context* if it verifies the server.

    Raises:
        ConfigurationError: When it does not.
    """
    if context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED:
        return context
    raise ConfigurationError(
        f"the {name} context in connect_args does not verify the server",
        hint=f"leave {name} out, or pass the context as tls= if you mean it",
    )


def one_of(name: str, value: object, *words: str) -> None:
    """Refuse a value of a TLS argument that is none of *words*.

    Raises:
        ConfigurationError: As said.
    """
    if value not in words:
        raise ConfigurationError(
            f"{name}={value!r} is not understood", hint=f"use {' or '.join(words)}, or leave it out"
        )


def nothing_to_explain(error: BaseException, user: str) -> None:
    """Leave an error as it is."""
