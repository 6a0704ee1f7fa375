"""Check that what is to be released is whole, holds nothing else, and is what its tag says.

    python .ci/check_distributions.py dist [v1.2.3]

Looks at the one wheel and the one sdist in the folder, beside git's list of files.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

EXTRAS = {"cli", "limit", "local", "mysql", "otel", "prometheus", "psycopg", "psycopg2", "pymysql"}
SCRIPTS = "rds-iam-async = rds_iam_async._cli:main"
GENERATED = {"PKG-INFO"}  # what an sdist has and git has not
NOT_SHIPPED = {".github/dependabot.yml"}  # may be shipped or not; of no use without the repository


def main(folder: Path, tag: str | None) -> list[str]:
    """Return what is wrong, one line each."""
    wheel, sdist = only(folder, "*.whl"), only(folder, "*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
        (info,) = {name.split("/")[0] for name in in_wheel if ".dist-info/" in name}
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()} - {""}
    tracked = set(
        subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True)
        .stdout.strip()
        .splitlines()
    )
    source = {name.removeprefix("src/") for name in tracked if name.startswith("src/")}
    package = {name for name in in_wheel if not name.startswith(f"{info}/")}
    return [
        *(f"{wheel.name} lacks {name}" for name in sorted(source - package)),
        *(f"{wheel.name} has {name}, which git has not" for name in sorted(package - source)),
        *(f"{sdist.name} lacks {name}" for name in sorted(wanted(tracked) - in_sdist)),
        *(
            f"{sdist.name} has {name}, which git has not"
            for name in sorted(in_sdist - tracked - GENERATED)
        ),
        *wrong_in(metadata, in_wheel, info),
        *([] if SCRIPTS in entry_points else [f"no console script {SCRIPTS}"]),
        *wrong_version(metadata["Version"], tag),
    ]


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of *folder* that is called so."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        sys.exit(f"{folder}: {len(found)} files {pattern}, where one was wanted")
    return found[0]


def wanted(tracked: set[str]) -> set[str]:
    """Return what of git's files a distributor needs to build, to test and to read."""
    return tracked - NOT_SHIPPED


def wrong_in(metadata: Message, in_wheel: set[str], info: str) -> list[str]:
    """Return what is wrong in the wheel's metadata."""
    wrong = []
    if set(metadata.get_all("Provides-Extra", [])) != EXTRAS:
        wrong.append(f"extras are {sorted(metadata.get_all('Provides-Extra', []))}")
    if metadata["License-Expression"] != "MIT" or f"{info}/licenses/LICENSE" not in in_wheel:
        wrong.append("the licence is missing")
    if "rds_iam_async/py.typed" not in in_wheel:
        wrong.append("py.typed is missing: type checkers will ignore the annotations")
    if "## Install" not in str(metadata.get_payload()):
        wrong.append("the README is not the long description")
    return wrong


def wrong_version(version: str, tag: str | None) -> list[str]:
    """Return what is wrong with the version: it is the tag's, and the changelog knows it."""
    changelog = Path("CHANGELOG.md").read_text()
    sections = re.findall(r"^## \[(.+?)\]( - \d{4}-\d\d-\d\d)?$", changelog, re.MULTILINE)
    if tag is None:
        # Between a release and the first change that a user notices there is nothing to note.
        notes = re.search(r"## \[Unreleased\]\n+### \w+\n+- ", changelog)
        released = any(dict(sections).values())
        return [] if notes or released else ["CHANGELOG.md has no Unreleased notes, and no release"]
    if tag != f"v{version}":
        return [f"the tag is {tag}, and the version {version}"]
    if not dict(sections).get(version):
        return [f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'"]
    return []


if __name__ == "__main__":
    wrong = main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 and sys.argv[2] else None)
    sys.exit("\n".join(wrong) or 0)
