"""The page on errors names all of ours, and quotes them as they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import rds_iam_async
from rds_iam_async import RdsIamError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
PACKAGE = Path(rds_iam_async.__file__).parent

OUR_OWN = PAGE.read_text().partition("## Of the driver")[0]


def strings() -> list[str]:
    """Return each string of the package, with `…` for what is put into it."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def messages() -> list[str]:
    """Return the messages that the tables of our own errors quote."""
    return [
        message
        for line in OUR_OWN.splitlines()
        if line.startswith("| `")
        for message in re.findall(r"(?:^\| |; )`([^`]+)`", line.split(" | ")[0])
    ]


def test_each_public_error_has_a_chapter() -> None:
    """Who catches one can read what it means."""
    ours = {
        name
        for name in rds_iam_async.__all__
        if isinstance(kind := getattr(rds_iam_async, name), type) and issubclass(kind, RdsIamError)
    }
    assert set(re.findall(r"^### `(\w+)`", OUR_OWN, re.MULTILINE)) == ours


def test_the_tree_is_the_one_in_the_code() -> None:
    """It is drawn twice."""
    drawn = ast.get_docstring(ast.parse((PACKAGE / "_errors.py").read_text()))
    assert drawn is not None
    _, _, tree = drawn.partition("\n\n")
    assert tree.strip() in OUR_OWN


def test_each_message_is_one_that_the_code_has() -> None:
    """Who searches for what he sees finds it, to the letter."""
    known = strings()
    assert len(messages()) > 20
    assert [m for m in messages() if not any(m in text for text in known)] == []
