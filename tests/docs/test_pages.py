"""Each page of the documentation does what it says."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest

from rds_iam_async.testing import LocalRds

from .conftest import Places
from .page import READERS, TO_BE_READ, Page

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
FENCE = re.compile(r"^ *`{3,}(?:\{code-block\} )?(\w+)", re.MULTILINE)
TEXT = re.compile(r"^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(
    r"^(?:await|from|import|async|alembic|celery|gunicorn|jq|pytest|python|taskiq|uvicorn)\b", re.M
)


def free_port() -> int:
    """Return one for the page's server, where a reader would use the usual one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def named(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("path", PAGES, ids=named)
def test_the_page_does_what_it_says(
    path: Path,
    rds: LocalRds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    places: Places,
) -> None:
    """Every block of Python and of shell runs, in order, against a local RDS.

    Where the page says that it is somewhere on AWS, its last login is by keys of that place.
    """
    environment = {
        **rds.environment,
        "DATABASE_URL": rds.url,
        "PGHOST": rds.host,
        "PGPORT": str(rds.port),
        "PGUSER": rds.user,
        "PGDATABASE": rds.database,
        # Plugins that a reader does not have; each takes seconds to load.
        "PYTEST_ADDOPTS": "-p no:hypothesispytest -p no:faker -p no:randomly -p no:timeout",
        "PORT": (port := str(free_port())),  # of aiohttp and gunicorn, and uvicorn's name for it
        "UVICORN_PORT": port,
        "PYTHONUNBUFFERED": "1",  # or a server that is waited for says nothing
        "PATH": f"{Path(sys.executable).parent}:{Path('/usr/bin')}:{Path('/bin')}",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    # boto3 keeps what `boto3.client(…)` made of the environment of an earlier page.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    names = {
        "local_rds": rds,
        "run_on": places.run_on,
        "examples": DOCS.parent / "examples",
        "free_port": free_port,
    }
    Page(path, directory=tmp_path, names=names).carry_out()
    if places.now is not None:
        *_, last = rds.log
        assert last.outcome == "accepted"
        assert last.access_key_id in [keys.access_key_id for keys in places.now.issued]


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_no_block_is_of_a_kind_that_nobody_runs(path: Path) -> None:
    """`bash`, `console` or `py` would be printed and never executed."""
    kinds = set(FENCE.findall(path.read_text()))
    assert kinds <= {"python", "sh", *READERS, *TO_BE_READ}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_what_can_be_run_is_not_called_text(path: Path) -> None:
    """A command or a line of Python that nobody runs would be wrong one day."""
    assert CODE.findall("".join(TEXT.findall(path.read_text()))) == []


def test_an_included_file_is_there_to_be_run(tmp_path: Path) -> None:
    """Under the name in its caption; what has none is only shown."""
    example = (Path(__file__).parents[2] / "examples" / "flask_app.py").resolve()
    page = tmp_path / "page.md"
    blocks = (
        f"```{{literalinclude}} {example}\n:language: python\n```",
        "```sh\n! ls *.py\n```",
        f"```{{literalinclude}} {example}\n:caption: a/b.py\n```",
        f"```sh\ncmp {example} a/b.py\n```",
    )
    page.write_text("# A page\n\n" + "\n\n".join(blocks) + "\n")
    Page(page, directory=tmp_path).carry_out()


def test_a_page_that_is_wrong_fails(rds: LocalRds, tmp_path: Path) -> None:
    """The test above can fail: by Python, by shell, and by data."""
    for block in ("```python\nawait nothing()\n```", "```sh\nfalse\n```", "```json\n{\n```"):
        page = tmp_path / "page.md"
        page.write_text(f"# A page\n\n{block}\n")
        with pytest.raises((NameError, AssertionError, ValueError)):
            Page(page, directory=tmp_path).carry_out()
