"""Pages are written as the house writes: one sentence on a line, so that a diff shows which."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(r" *(`{3,})")
CODE = re.compile(r"`[^`]*`")
SECOND_SENTENCE = re.compile(r"(?<=[\w)*`\]’\"»])[.!?] (?=[A-Z`*\[(\"])")


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are no code, table, comment, heading or picture, with their numbers."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        if mark := FENCE.match(line):
            if fence is None:
                fence = mark[1]
            elif mark[1].startswith(fence):
                fence = None
        elif fence is None and not line.startswith(("|", "%", "#", "!")):
            yield number, line


def sentences(line: str) -> list[str]:
    """Cut *line* into its sentences; what stands in code is none."""
    hidden = CODE.sub(lambda code: "`" * len(code[0]), re.sub(r"^ *\d+\. ", "", line))
    offset = len(line) - len(hidden)
    ends = [0, *(found.end() + offset for found in SECOND_SENTENCE.finditer(hidden)), len(line)]
    return [line[begin:end].rstrip() for begin, end in pairwise(ends)]


@pytest.mark.parametrize(
    "path", [path for path in PAGES if "_build" not in path.parts], ids=lambda path: path.stem
)
def test_one_sentence_stands_on_a_line(path: Path) -> None:
    """In lists, too."""
    crowded = [number for number, line in prose(path.read_text()) if len(sentences(line)) > 1]
    assert crowded == []


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("One. Two.", 2),
        ("- *Pool*: it is `a. B`. Then `this`.", 2),
        ("1. Add it, at 3 a.m. or 2.0 s later.", 1),
        ("Done (as said). [](here.md) tells more.", 2),
    ],
)
def test_the_test_above_can_count(line: str, count: int) -> None:
    """What looks like a sentence's end in code or in a number is none."""
    assert len(sentences(line)) == count
