"""The README's code runs as printed, against the local RDS."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from rds_iam_async.testing import LocalRds

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
FASTAPI, REFRESHER, TESTING = BLOCKS


@pytest.fixture
def environment(rds: LocalRds, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**rds.environment, "DATABASE_URL": rds.url}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.anyio
async def test_the_fastapi_app(environment: None, rds: LocalRds) -> None:
    """Its lifespan entered, its route asked."""
    module: dict[str, Any] = {"__name__": "app"}
    exec(compile(FASTAPI, "README.md", "exec"), module)
    app = module["app"]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client,
    ):
        answer = await client.get("/now")
    assert answer.status_code == 200
    assert re.match(r'"20\d\d-', answer.text)
    assert [login.outcome for login in rds.log] == ["accepted"]


def test_the_fastapi_app_is_about_ten_lines(environment: None) -> None:
    """What the README promises: the body of it fits in a glance."""
    lines = [
        line for line in FASTAPI.splitlines() if line and not line.startswith(("import", "from"))
    ]
    assert len(lines) <= 11


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr
    # The default observer's warnings, which Python prints where no logging is set up.
    expected = re.compile("refused a token|token_host=")
    assert [line for line in done.stderr.splitlines() if not expected.search(line)] == []
    return done.stdout


@pytest.mark.timeout(180)
def test_the_refresher(environment: None, rds: LocalRds) -> None:
    """As a program of its own."""
    assert run(REFRESHER) == f"True\n{rds.user}\n"


@pytest.mark.timeout(180)
def test_testing_ones_own_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file that pytest runs, with what the plugin brings and no more."""
    (tmp_path / "test_app.py").write_text(TESTING)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # what else is installed here
    plugins = ["-p", "pytest_asyncio.plugin", "-p", "rds_iam_async.pytest_plugin"]
    scope = ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", *plugins, *scope],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_make_targets_that_it_opens_with_exist() -> None:
    """`make demo` and `make test` are the first thing that a reader runs."""
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_relative_links_lead_somewhere() -> None:
    """Also to the picture."""
    root = Path(__file__).parents[2]
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (root / link).exists(), link
