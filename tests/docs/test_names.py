"""What pages refer to by name is there: tests, examples, commands of the Makefile."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [path.read_text() for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]


def named(pattern: str) -> set[str]:
    return {name for page in PAGES for name in re.findall(pattern, page)}


def test_each_test_that_a_page_names_is_there() -> None:
    """A claim that names its proof has it."""
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", tests))
    said = named(r"`(test_\w+)`")
    assert len(said) > 30
    assert said - there == set()


def test_each_example_that_a_page_names_is_there() -> None:
    """So is each file of the repository that is named with its folder."""
    paths = named(r"`((?:examples|benchmarks|docs|tests)/[\w./-]+)`")
    assert paths
    assert {path for path in paths if not (ROOT / path).exists()} == set()


def test_each_make_target_that_a_page_names_is_there() -> None:
    """`make bench` and the like are the first thing that a doubtful reader runs."""
    makefile = (ROOT / "Makefile").read_text()
    targets = named(r"`make ([\w-]+)`")
    assert targets
    assert {name for name in targets if not re.search(rf"^{name}:", makefile, re.M)} == set()
