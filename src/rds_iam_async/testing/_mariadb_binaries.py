"""Where MariaDB's server is, and the SQL that it is made from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._errors import ConfigurationError

MARIADB_BIN = "RDS_IAM_MARIADB_BIN"

_NAMES = ("mariadbd", "mysqld")
# Debian puts servers where a user's PATH often does not lead.
_USUAL = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")
# Below the directory that holds bin or sbin: packages of distributions, then archives.
_SHARES = ("share/mysql", "share/mariadb", "share")
# The second name is that of MariaDB 11. MySQL has neither: its mysqld will not do.
_TABLES = ("mysql_system_tables.sql", "mariadb_system_tables.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One MariaDB.

    Attributes:
        server: The program.
        share: Where its messages and character sets are.
        tables: The statements that make its system tables.
    """

    server: Path
    share: Path
    tables: Path


def find_mariadb(
    environ: Mapping[str, str] = os.environ, *, usual: Sequence[str] = _USUAL
) -> Installation:
    """Return the first MariaDB of this machine.

    Args:
        environ: `RDS_IAM_MARIADB_BIN` names a server program, or its directory; else it
            is looked for on the PATH.
        usual: Where it is looked for then.

    Raises:
        ConfigurationError: When there is none, or not where the variable says.
    """
    if chosen := environ.get(MARIADB_BIN):
        for found in _installations([chosen, *(f"{chosen}/{name}" for name in _NAMES)]):
            return found
        raise ConfigurationError(
            f"{MARIADB_BIN} is {chosen!r}, where there is no server of MariaDB",
            hint=f"let {MARIADB_BIN} name mariadbd or its directory, or unset it",
        )
    for found in _installations(_candidates(environ, usual)):
        return found
    raise ConfigurationError(
        "no MariaDB was found on this machine",
        hint=f"apt-get install mariadb-server-core, or let {MARIADB_BIN} name a mariadbd",
    )


def _candidates(environ: Mapping[str, str], usual: Sequence[str]) -> Iterator[str]:
    for name in _NAMES:
        if found := shutil.which(name, path=environ.get("PATH", "")):
            yield found
        yield from (f"{directory}/{name}" for directory in usual)


def _installations(programs: Iterable[str]) -> Iterator[Installation]:
    for program in programs:
        server = Path(program).resolve()
        if server.is_file() and os.access(server, os.X_OK):
            for share in (server.parent.parent / below for below in _SHARES):
                for tables in (share / name for name in _TABLES):
                    if tables.is_file():
                        yield Installation(server=server, share=share, tables=tables)
