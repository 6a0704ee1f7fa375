"""Trust: which certificates a database may show before it is shown a token.

No bundle is shipped: a copy of AWS's would be out of date before its reader is.
"""

from __future__ import annotations

import os
import ssl

from ._errors import ConfigurationError
from ._flight import Flight
from ._offload import in_thread

BUNDLE = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
"""Where AWS keeps the current roots of RDS and Aurora (`UsingWithRDS.SSL`)."""

HOW_TO_TRUST = (
    f"download {BUNDLE} and pass its path as ca_file=, or in RDS_IAM_CA_FILE; "
    "the host name must be the one in the server's certificate"
)

_VARIABLES = ("RDS_IAM_CA_FILE", "PGSSLROOTCERT")


class Trust:
    """The TLS context of one CA file, built once and shared by all connections.

    Building one costs 14 to 33 ms with AWS's bundle of over a hundred roots, so it
    happens off the loop, when first wanted.
    """

    def __init__(
        self, ca_file: str | None = None, *, context: ssl.SSLContext | None = None
    ) -> None:
        """Remember what to trust; read nothing but the file's first certificate marker.

        Args:
            ca_file: Roots in PEM, trusted beside the system's own (RDS Proxy has public
                ones). `None`: what `RDS_IAM_CA_FILE`, else `PGSSLROOTCERT`, names.
            context: The caller's own, used as it is instead.

        Raises:
            ConfigurationError: When both are given, when the context is none, when the file
                cannot be read, or when it holds no certificate.
        """
        if context is not None and not isinstance(context, ssl.SSLContext):
            raise ConfigurationError(
                f"tls is a {type(context).__name__}",
                hint="leave it out (the server is verified), or pass an ssl.SSLContext",
            )
        if context is not None and ca_file is not None:
            raise ConfigurationError(
                "both ca_file and tls are given",
                hint="load the CA file into the SSLContext that you pass as tls=",
            )
        self._ca_file = None if context is not None else _checked(ca_file)
        self.context = context
        self._building: Flight[ssl.SSLContext] = Flight(
            lambda: in_thread(self.build, name="rds_iam_async-tls"),
            name="rds_iam_async: building the TLS context",
        )

    async def ready(self) -> ssl.SSLContext:
        """Return the context, building it in a thread if it is not there yet.

        Raises:
            ConfigurationError: When the CA file turns out not to parse.
        """
        if self.context is not None:
            return self.context
        return await self._building.join()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it to be built."""
        return self._building.wanted

    async def aclose(self) -> None:
        """End building it, if that is under way in this loop."""
        await self._building.aclose()

    def build(self) -> ssl.SSLContext:
        """Return the context, building it here and now if it is not there yet."""
        context = self.context or _context(self._ca_file)
        self.context = context
        return context


def _checked(ca_file: str | None) -> str | None:
    path, said_by = ca_file, "ca_file"
    if path is None:
        for variable in _VARIABLES:
            # libpq 16 has the word "system" for the system's roots, which we trust anyway.
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


def _context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"the CA file {ca_file!r} does not parse: {error}", hint=HOW_TO_TRUST
            ) from error
    # PostgreSQL 17 demands it for direct TLS, and asyncpg leaves a given context alone.
    context.set_alpn_protocols(["postgresql"])
    return context
