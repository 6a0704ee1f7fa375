"""The local RDS for another terminal: it and a local AWS, and the variables that lead there."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ._download import write_whole
from ._errors import RdsIamError
from .testing import LocalAws, LocalRds, Login

_IN_THE_WAY = (
    *("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION"),
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
    *("PGSERVICE", "PGHOSTADDR"),
)
"""Variables of the user's own that would come before ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A local RDS that runs, and how to get there.

    Attributes:
        rds: The database.
        environment: What a process needs.
    """

    rds: LocalRds
    environment: dict[str, str]

    @property
    def shell(self) -> str:
        """The lines for a shell."""
        exports = [f"export {name}={shlex.quote(v)}" for name, v in self.environment.items()]
        return "\n".join([f"unset {' '.join(_IN_THE_WAY)}", *exports])

    def write(self, path: Path) -> None:
        """Put these lines into a file.

        Raises:
            RdsIamError: When it cannot be written.
        """
        write_whole(path, f"{self.shell}\n".encode())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that JSON can take."""
        rds = self.rds
        return {
            "url": rds.url,
            "host": rds.host,
            "port": rds.port,
            "user": rds.user,
            "database": rds.database,
            "region": rds.region,
            "ca_file": rds.ca_file,
            "environment": self.environment,
        }


@contextlib.contextmanager
def running(
    *,
    engine: Literal["postgres", "mariadb"],
    port: int,
    user: str,
    database: str,
    token_lifetime: float,
    observe: Callable[[Login], None],
) -> Generator[Place]:
    """Run both until the block is left.

    Args:
        engine: The kind of database.
        port: Where it listens; 0 takes a free port.
        user: The IAM user to create.
        database: The database to create.
        token_lifetime: How long a token is good, in seconds.
        observe: Told of each login, in a thread of its own.

    Raises:
        RdsIamError: As `LocalRds.start`.
    """
    rds = LocalRds(
        engine=engine,
        port=port,
        user=user,
        database=database,
        token_lifetime=token_lifetime,
        observe=observe,
    )
    try:
        rds.start()
    except OSError as error:
        raise RdsIamError(
            f"the local RDS cannot listen on port {port}: {error.strerror}",
            hint="choose another port, or 0 for a free one",
        ) from error
    with rds, LocalAws(rds) as aws:
        # Its STS, and nobody's on the Internet, is to be asked who has these keys.
        sts = aws.environment("static")["AWS_ENDPOINT_URL_STS"]
        environment = rds.environment | {"AWS_ENDPOINT_URL_STS": sts, "DATABASE_URL": rds.url}
        yield Place(rds=rds, environment=environment | _for_clients(rds))


def _for_clients(rds: LocalRds) -> dict[str, str]:
    if rds.engine == "mariadb":
        return {"MYSQL_HOST": rds.host, "MYSQL_TCP_PORT": str(rds.port)}
    return {
        "PGHOST": rds.host,
        "PGPORT": str(rds.port),
        "PGUSER": rds.user,
        "PGDATABASE": rds.database,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": rds.ca_file,
    }


def line_about(login: Login) -> str:
    """Return one login as a line of a log."""
    at = time.strftime("%H:%M:%S", time.localtime(login.at))
    key = f" ({login.access_key_id})" if login.access_key_id else ""
    return f"{at} {login.outcome:9} {login.user or '-'}: {login.reason}{key}"
