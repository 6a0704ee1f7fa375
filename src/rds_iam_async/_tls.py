"""Trust: which certificates a database may show before it is shown a token.

No bundle is shipped: a copy of AWS's would be out of date before its reader is.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ._errors import ConfigurationError
from ._flight import Flight
from ._offload import in_thread
from ._region import has_rds_certificate

BUNDLE = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
"""Where AWS keeps the current roots of RDS and Aurora (`UsingWithRDS.SSL`)."""

T = TypeVar("T")

HOW_TO_TRUST = (
    "run 'rds-iam-async ca-bundle --output global-bundle.pem' (or download "
    f"{BUNDLE}) and pass the file's path as ca_file=, or in RDS_IAM_CA_FILE; "
    "the host name must be the one in the server's certificate"
)

_VARIABLES = ("RDS_IAM_CA_FILE", "PGSSLROOTCERT")


class Trust(Generic[T]):
    """What verifies servers: made once, off the loop, and shared by all connections.

    A context with AWS's bundle of over a hundred roots costs 14 to 33 ms.
    """

    def __init__(
        self, make: Callable[[], T], *, made: T | None = None, roots: str = "your own roots"
    ) -> None:
        """Take what makes it, or what is made already.

        Args:
            make: Makes it.
            made: What is made already.
            roots: Whom it trusts, in words.
        """
        self._make = make
        self.roots = roots
        self.made = made
        self._making: Flight[T] = Flight(
            lambda: in_thread(self.build, name="rds_iam_async-tls"),
            name="rds_iam_async: building the TLS context",
        )

    async def ready(self) -> T:
        """Return it, making it in a thread if it is not there yet.

        Raises:
            ConfigurationError: When the CA file turns out not to parse.
        """
        if self.made is not None:
            return self.made
        return await self._making.join()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it to be made."""
        return self._making.wanted

    async def aclose(self) -> None:
        """End making it, if that is under way in this loop."""
        await self._making.aclose()

    def build(self) -> T:
        """Return it, making it here and now if it is not there yet."""
        made = self.made if self.made is not None else self._make()
        self.made = made
        return made


def checked(ca_file: str | None, context: ssl.SSLContext | None) -> str | None:
    """Return the CA file that is meant; read nothing but its first certificate marker.

    Args:
        ca_file: Roots in PEM. `None`: what `RDS_IAM_CA_FILE`, else `PGSSLROOTCERT`, names.
        context: The caller's own, used as it is instead.

    Raises:
        ConfigurationError: When both are given, when the context is none, when the file
            cannot be read, or when it holds no certificate.
    """
    if context is None:
        return _readable(ca_file)
    if not isinstance(context, ssl.SSLContext):
        raise ConfigurationError(
            f"tls is a {type(context).__name__}",
            hint="leave it out (the server is verified), or pass an ssl.SSLContext",
        )
    if ca_file is not None:
        raise ConfigurationError(
            "both ca_file and tls are given",
            hint="load the CA file into the SSLContext that you pass as tls=",
        )
    return None


def _readable(ca_file: str | None) -> str | None:
    path, said_by = ca_file, "ca_file"
    if path is None:
        for variable in _VARIABLES:
            # libpq 16 has the word "system" for the system's roots: as if no file were named.
            if (path := os.environ.get(variable)) and path != "system":
                said_by = variable
                break
        else:
            return None
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            holds_one = b"-----BEGIN CERTIFICATE-----" in file.read()
    except OSError as error:
        raise ConfigurationError(
            f"{said_by} {path!r} cannot be read: {error.strerror}", hint=HOW_TO_TRUST
        ) from error
    if not holds_one:
        raise ConfigurationError(f"{said_by} {path!r} holds no certificate", hint=HOW_TO_TRUST)
    return path


def trusts_file_alone(ca_file: str | None, host: str) -> bool:
    """Tell whether the system's roots are left out: where *host* is RDS's, and a file is named.

    RDS's certificates never chain to public roots. So nobody is given the token for a
    certificate that some public authority should not have issued. RDS Proxy's do, and of other
    names nothing is known.
    """
    return ca_file is not None and has_rds_certificate(host)


def roots_in_words(ca_file: str | None, *, alone: bool) -> str:
    """Say whom servers are verified by."""
    if ca_file is None:
        return "the system's roots"
    return f"the roots in {ca_file!r} alone" if alone else f"{ca_file!r} and the system's roots"


def make_context(
    ca_file: str | None, *, alone: bool = False, alpn: str | None = None
) -> ssl.SSLContext:
    """Return a context that verifies the server, host name included.

    Args:
        ca_file: Roots to trust.
        alone: Whether they are all, and the system's own are not trusted as well.
        alpn: The protocol to name: asyncpg leaves a given context alone in this.

    Raises:
        ConfigurationError: When the file does not parse.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file if alone else None)
        if ca_file is not None and not alone:
            context.load_verify_locations(cafile=ca_file)
    except OSError as error:
        if ca_file is None or error.filename not in (None, ca_file):
            raise  # of another file: SSLKEYLOGFILE names one, too
        raise ConfigurationError(
            f"the CA file {ca_file!r} does not parse: {error}", hint=HOW_TO_TRUST
        ) from error
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    return context


def named_context(context: ssl.SSLContext, server_name: str) -> ssl.SSLContext:
    """Return *context* for one server, whatever is dialled: a CNAME, a tunnel, a load balancer.

    It shares all that is loaded, so that a thousand names cost one set of roots.
    """
    named = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    named.context, named.server_name = context, server_name
    return named


class _NamedContext(ssl.SSLContext):
    """Verifies one name. No driver has an argument for it, but all pass through here."""

    context: ssl.SSLContext
    server_name: str

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self.context.wrap_bio(*args, **kwargs | {"server_hostname": self.server_name})

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        return self.context.wrap_socket(*args, **kwargs | {"server_hostname": self.server_name})
