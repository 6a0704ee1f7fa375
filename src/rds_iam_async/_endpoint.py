"""The endpoint that an engine's URL and the caller's overrides name."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from sqlalchemy import URL

from ._credentials import SessionCredentials
from ._drivers import Driver
from ._errors import ConfigurationError
from ._region import doubt_about, is_global_writer, region_of
from ._token import Endpoint
from .telemetry import logger


def endpoint_of(
    url: URL,
    driver: Driver,
    *,
    region: str | None,
    token_host: str | None,
    token_port: int | None,
    session: Any,
) -> Endpoint:
    """Return what tokens are signed for.

    A host that RDS gives out to nobody is signed as it stands (a local RDS for tests has
    one), with a warning that names *token_host*; giving that says that it is meant.

    Args:
        url: The engine's own, checked already.
        driver: Knows the port that it dials when the URL names none.
        region: The caller's word, which wins.
        token_host: The name to sign instead of the URL's.
        token_port: The port to sign instead of the URL's.
        session: Asked for its region when neither the caller nor the host says one.

    Raises:
        ConfigurationError: When no region can be found, when it would be a guess (a Global
            Database's writer is wherever the primary is), or when a part cannot be signed.
    """
    host = url.host or "" if token_host is None else token_host
    found = find_region(host, region=region, session=session)
    if token_host is None and (doubt := doubt_about(host)):
        logger.warning(
            "tokens are signed for %r, %s; RDS refuses those not signed for its own name: pass "
            "it as token_host= if this is a tunnel, an alias or a load balancer, or "
            "token_host=%r if it is meant, as for a local RDS",
            *(host, doubt, host),
        )
    return Endpoint(
        host=host,
        port=url.port or driver.default_port if token_port is None else token_port,
        user=url.username or "",
        region=found.region,
    )


class FoundRegion(NamedTuple):
    """A region, and what said it.

    Attributes:
        region: Such as `eu-west-1`.
        source: In words that go after it: "by the host name".
    """

    region: str
    source: str


BY_CALLER = "as given"
BY_HOST = "by the host name"


def find_region(host: str, *, region: str | None, session: Any) -> FoundRegion:
    """Return the region of a database; the first that says one has the word.

    Args:
        host: The name that is signed.
        region: The caller's word.
        session: The caller's AWS session, or a function that makes one.

    Raises:
        ConfigurationError: When nobody says one; when it would be a guess.
    """
    if region:
        return FoundRegion(region=region, source=BY_CALLER)
    if said := region_of(host):
        return FoundRegion(region=said, source=BY_HOST)
    if is_global_writer(host):
        raise ConfigurationError(
            f"{host!r} is the writer endpoint of a Global Database: its name says no region, "
            "and the AWS session's may be another",
            hint="pass region='eu-west-1' or the like: where the primary cluster is now",
        )
    return _region_beside(host, session)


def _region_beside(host: str, session: Any) -> FoundRegion:
    """Return the region of an endpoint whose name says none."""
    if session is not None and (said := SessionCredentials(session).region()):
        return FoundRegion(region=said, source="by the AWS session")
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if said := os.environ.get(variable):
            return FoundRegion(region=said, source=f"by {variable}")
    # The last resort imports the SDK here and now, to read the AWS config file.
    if session is None and (said := SessionCredentials().region()):
        return FoundRegion(region=said, source="by the AWS config file")
    raise ConfigurationError(
        f"no region for {host!r}: its name does not say one, nor does the AWS session",
        hint="pass region='eu-west-1' or the like, or token_host= with the RDS name",
    )
