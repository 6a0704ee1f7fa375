"""What the release check says of a version: the tag's, with a section in the changelog."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNRELEASED = "## [Unreleased]\n\n### Added\n\n- A thing.\n"
RELEASED = "## [1.2.3] - 2026-01-31\n\n### Added\n\n- A thing.\n"

Wrong = Callable[[str, str | None], list[str]]


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Wrong]:
    """The check, beside a changelog."""
    path = ROOT / ".ci" / "check_distributions.py"
    spec = importlib.util.spec_from_file_location("check_distributions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)

    def beside(changelog: str) -> Wrong:
        Path("CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}")
        return module.wrong_version

    return beside


def test_a_tag_is_the_version_and_has_a_section_with_a_date(
    wrong: Callable[[str], Wrong],
) -> None:
    """What is released is what was announced."""
    assert wrong(RELEASED)("1.2.3", "v1.2.3") == []
    assert wrong(RELEASED)("1.2.4.dev0", "v1.2.3") != []  # a dirty tree
    assert wrong(UNRELEASED)("1.2.3", "v1.2.3") != []
    assert wrong("## [1.2.3]\n")("1.2.3", "v1.2.3") != []


def test_main_is_not_red_because_of_a_release(wrong: Callable[[str], Wrong]) -> None:
    """Neither on the commit that is to be tagged, nor on the next one, with nothing to note."""
    for version in ("0.1.0.dev104", "1.2.3", "1.2.4.dev1"):
        assert wrong(RELEASED)(version, None) == []
        assert wrong(UNRELEASED)(version, None) == []
    assert wrong("")("0.1.0.dev1", None) != []
