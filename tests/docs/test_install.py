"""What a page tells its reader to install is there to be installed."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
OURS = metadata("rds-iam-async")
TEXTS = [
    path
    for kind in ("README.md", "docs/**/*.md", "examples/**/*.md", "examples/**/*.py", "src/**/*.py")
    for path in ROOT.glob(kind)
    if "_build" not in path.parts
]
LINE = re.compile(r"\bpip install ([^`\"\n{]+)")


def told() -> dict[str, str]:
    """Return each requirement that a text names, and one of the texts."""
    return {
        word: path.relative_to(ROOT).as_posix()
        for path in TEXTS
        for line in LINE.findall(path.read_text())
        for word in shlex.split(line, comments=True)
    }


@pytest.mark.parametrize("requirement", told())
def test_what_is_to_be_installed_exists(requirement: str) -> None:
    """An extra of ours is one of the package's; another package is one that these tests use."""
    wanted = Requirement(requirement)
    if wanted.name == OURS["Name"]:
        assert wanted.extras <= set(OURS.get_all("Provides-Extra") or [])
    else:
        metadata(wanted.name)


def test_the_lines_are_found() -> None:
    """The test above has something to do."""
    assert {"rds-iam-async", "rds-iam-async[local]", "pytest-asyncio"} <= told().keys()
