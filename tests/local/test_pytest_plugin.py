"""The pytest plugin in other people's projects: a wheel, a fresh environment, their own runs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOREIGN = ROOT / "tests" / "foreign_project"

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment without what a run of pytest leaves there for its children."""
    left = ("PYTEST_", "COV", "AWS_", "RDS_IAM_CA_FILE", "DATABASE_URL", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(left)}


def uv() -> list[str]:
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    found = shutil.which("uv")
    if found is None and "CI" not in os.environ:
        pytest.skip("needs uv")
    return [found or "uv"]


def run(*command: str | Path, cwd: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_in_a_foreign_project(tmp_path: Path, environ: dict[str, str]) -> None:
    """Installed from the wheel, its fixtures work under both async plugins, in two workers.

    Warnings are errors there: nothing is left open that a test's loop would have to close.
    """
    project, python = tmp_path / "project", tmp_path / "venv" / "bin" / "python"
    shutil.copytree(FOREIGN, project, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    run(*uv(), "build", "-q", "--wheel", "-o", tmp_path, ROOT, cwd=tmp_path, env=environ)
    (wheel,) = tmp_path.glob("*.whl")
    run(*uv(), "venv", "-q", "-p", sys.executable, tmp_path / "venv", cwd=tmp_path, env=environ)
    packages = [f"rds-iam-async[local] @ {wheel.as_uri()}", str(project)]
    packages += ["pytest", "pytest-asyncio", "pytest-xdist"]
    run(*uv(), "pip", "install", "-q", "-p", python, *packages, cwd=tmp_path, env=environ)

    def tests(*arguments: str) -> str:
        strict = ("-W", "error", "-p", "no:randomly", "-p", "no:cacheprovider", "-q")
        return run(python, "-m", "pytest", *strict, *arguments, cwd=project, env=environ)

    assert "19 passed" in tests("-n", "2", "-o", "asyncio_mode=auto")
    assert "19 passed" in tests("-n", "2", "-p", "no:asyncio", "-o", "anyio_mode=auto")
    neither = ("-p", "no:asyncio", "-p", "no:anyio", "-p", "no:xdist")
    assert "3 passed" in tests(*neither, "tests/test_sync.py")
