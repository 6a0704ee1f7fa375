"""Who the database server runs as when we are root, which it refuses to run as."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .._errors import RdsIamError

# A user needs an entry in the passwd database: initdb looks itself up there.
_NAMES = ("nobody", "daemon")
# sockaddr_un.sun_path holds 104 bytes on macOS, and we add this much to the directory.
_LONGEST = 103 - len("/rds-iam-0123456789abcdef/s/.s.PGSQL.5432")


# A directory in memory on Linux; in a container it often has 64 MB, and may run nothing.
_MEMORY = Path("/dev/shm")
_PLENTY = 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Unprivileged:
    """A user that owns nothing that matters."""

    uid: int
    gid: int

    def can_run(self, program: Path) -> bool:
        """Tell whether this user gets at *program*, and it starts."""
        try:
            ran = subprocess.run(
                [program, "--version"],
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                cwd="/",
                capture_output=True,
            )
        except PermissionError:
            return False
        return ran.returncode == 0


def unprivileged() -> Unprivileged | None:
    """Return the user to become, or `None` when we are not root and need not."""
    if os.geteuid() != 0:
        return None
    for name in _NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Unprivileged(uid=entry.pw_uid, gid=entry.pw_gid)
    raise RdsIamError(
        f"root cannot run the database server, and there is no user {' or '.join(_NAMES)}",
        hint="run as a normal user",
    )


def shared_directory(user: Unprivileged | None) -> Path:
    """Return where to put files for *user*: memory if there is plenty, else the usual place.

    Most of the start is writing what PostgreSQL's initdb makes, 40 MB (MariaDB: 15), which a
    slow disk makes three times as long.
    Who sets TMPDIR has chosen.
    """
    if "TMPDIR" not in os.environ and _has_room(_MEMORY):
        return _MEMORY
    usual = Path(tempfile.gettempdir()).resolve()
    open_to_all = all(path.stat().st_mode & 0o001 for path in (usual, *usual.parents))
    if len(os.fsencode(usual)) <= _LONGEST and (user is None or open_to_all):
        return usual
    return Path("/tmp")


def _has_room(directory: Path) -> bool:
    try:
        system = os.statvfs(directory)
    except OSError:
        return False
    runs_programs = not system.f_flag & getattr(os, "ST_NOEXEC", 0)
    free = system.f_bavail * system.f_frsize
    return os.access(directory, os.W_OK | os.X_OK) and runs_programs and free > _PLENTY
