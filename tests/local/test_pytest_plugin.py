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
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def environ() -> dict[str, str]:
    """The environment without what a run of pytest leaves there for its children."""
    left = ("PYTEST_", "COV", "AWS_", "RDS_IAM_CA_FILE", "DATABASE_URL", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(left)}


@pytest.fixture(autouse=True)
def no_plugin_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the runs within a test what else is installed here; some of it takes seconds."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


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

    scope = ("-o", "asyncio_default_fixture_loop_scope=function")
    assert "18 passed" in tests("-n", "2", "-o", "asyncio_mode=auto", *scope)
    assert "18 passed" in tests("-n", "2", "-p", "no:asyncio", "-o", "anyio_mode=auto")


OURS = ("-p", "rds_iam_async.pytest_plugin", "-p", "no:cacheprovider")
STRICT = (*OURS, "--strict-config", "--strict-markers", "-W", "error")

# A server that does not run, for what can be seen without one.
STOPPED = """
    import pytest
    from rds_iam_async.testing import LocalRds

    @pytest.fixture(scope="session")
    def local_rds():
        return LocalRds(token_lifetime=60)
"""


def test_what_a_test_does_to_the_server_stays_with_it(pytester: pytest.Pytester) -> None:
    """Under pytest-asyncio's strict mode: faults, revocations, rows and the log go at its end."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(scope="session")
        def rds_iam_schema(local_rds):
            local_rds.execute("create table t (n int)", owner=local_rds.user)
        """
    )
    pytester.makepyfile(
        """
        import time
        import pytest
        from sqlalchemy import text

        pytestmark = pytest.mark.asyncio

        @pytest.mark.parametrize("repetition", range(3))
        @pytest.mark.rds_iam(token_lifetime=100)
        async def test_it(rds_iam_engine, local_rds, repetition):
            began = time.monotonic()
            async with rds_iam_engine.begin() as connection:
                assert await connection.scalar(text("select count(*) from t")) == 0
                await connection.execute(text("insert into t values (1)"))
            assert time.monotonic() - began < 45  # no delay
            assert [login.outcome for login in local_rds.log] == ["accepted"]
            assert local_rds.token_lifetime == 100
            local_rds.token_lifetime, local_rds.auth_delay = 2, 60
            local_rds.refuse(3)
            local_rds.revoke()
            local_rds.distrust(local_rds.credentials.access_key_id)
            local_rds.pause()

        async def test_without_a_marker(local_rds):
            assert local_rds.token_lifetime == 900
        """
    )
    pytester.runpytest_subprocess(*STRICT, "-p", "pytest_asyncio.plugin").assert_outcomes(passed=4)


EARLY = "[pytest]\nrds_iam_environment = true"


def test_an_app_that_reads_the_environment_while_it_is_imported(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test modules and `conftest.py` import it at their top, where no fixture has run yet."""
    monkeypatch.setenv("AWS_PROFILE", "of-a-developer")
    pytester.makeini(EARLY)
    pytester.makepyfile(app="import os\nURL = os.environ['DATABASE_URL']")
    pytester.makeconftest("import app")
    pytester.makepyfile(
        """
        import os
        import app

        def test_it(local_rds, rds_iam_database):
            assert app.URL == rds_iam_database == local_rds.url
            assert os.environ["AWS_ACCESS_KEY_ID"] == local_rds.credentials.access_key_id
            assert "AWS_PROFILE" not in os.environ
        """
    )
    pytester.runpytest_subprocess(*STRICT).assert_outcomes(passed=1)


def test_the_environment_of_the_run_leads_to_no_other_server(pytester: pytest.Pytester) -> None:
    """A project's own would run beside the one that the app has been told of."""
    pytester.makeini(EARLY)
    pytester.makeconftest(STOPPED)
    pytester.makepyfile("def test_it(local_rds): ...")
    done = pytester.runpytest_subprocess(*OURS)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["rds_iam_environment is for the plugin's own local_rds"])


def test_a_server_of_the_projects_own_and_no_async_plugin(pytester: pytest.Pytester) -> None:
    """`local_rds` overridden, the tables in SQL: they belong to the IAM user."""
    pytester.makeconftest(
        """
        import pytest
        from rds_iam_async.testing import LocalRds

        @pytest.fixture(scope="session")
        def local_rds():
            with LocalRds(user="orders", database="orders", token_lifetime=30) as rds:
                yield rds

        @pytest.fixture(scope="session")
        def rds_iam_schema():
            return "create table t (n int); create table u (n int)"
        """
    )
    pytester.makepyfile(
        """
        import asyncio
        import pytest
        from sqlalchemy import text

        @pytest.mark.parametrize("repetition", range(2))
        def test_it(rds_iam_engine, local_rds, repetition):
            async def main():
                async with rds_iam_engine.begin() as connection:
                    await connection.execute(text("alter table t add if not exists m int"))

            assert local_rds.token_lifetime == 30
            asyncio.run(main())
            asyncio.run(main())  # a pooled connection would belong to the loop before
            assert [login.user for login in local_rds.log] == ["orders"] * 2
            local_rds.token_lifetime = 2
        """
    )
    pytester.runpytest_subprocess(*STRICT).assert_outcomes(passed=2)


def test_mariadb(pytester: pytest.Pytester, running_mariadb: object) -> None:
    """It cannot keep a copy, so that the tables are made again for each test."""
    pytester.makeconftest(
        """
        import pytest
        from rds_iam_async.testing import LocalRds
        from sqlalchemy import text

        @pytest.fixture(scope="session")
        def local_rds():
            with LocalRds(engine="mariadb") as rds:
                yield rds

        @pytest.fixture(scope="session")
        def rds_iam_schema():
            async def create_tables(engine):
                async with engine.begin() as connection:
                    await connection.execute(text("create table t (n int)"))

            return create_tables
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from sqlalchemy import text

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        @pytest.mark.parametrize("repetition", range(2))
        async def test_it(rds_iam_engine, local_rds, repetition):
            async with rds_iam_engine.begin() as connection:
                await connection.execute(text("insert into t values (1)"))
                assert await connection.scalar(text("select count(*) from t")) == 1
            assert [login.outcome for login in local_rds.log] == ["accepted"]
        """
    )
    pytester.runpytest_subprocess(*STRICT, "-p", "anyio").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("arguments", "ini", "lifetime"),
    [
        (["--rds-iam-token-lifetime=5"], "6", 5),
        ([], "6.5", 6.5),
        ([], "", 60),
    ],
)
def test_the_token_lifetime_of_a_run(
    pytester: pytest.Pytester, arguments: list[str], ini: str, lifetime: float
) -> None:
    """The command line is before the ini, the ini before the server's own; a marker is first."""
    pytester.makeini(f"[pytest]\nrds_iam_token_lifetime = {ini}")
    pytester.makeconftest(STOPPED)
    pytester.makepyfile(
        f"""
        import pytest

        def test_the_run(local_rds):
            assert local_rds.token_lifetime == {lifetime}

        @pytest.mark.rds_iam(token_lifetime=4)
        def test_the_marker(local_rds):
            assert local_rds.token_lifetime == 4

        def test_the_run_again(local_rds):
            assert local_rds.token_lifetime == {lifetime}
        """
    )
    pytester.runpytest_inprocess(*OURS, *arguments).assert_outcomes(passed=3)


@pytest.mark.parametrize("said", ["0", "1.9", "901", "nan", "soon"])
def test_a_token_lifetime_that_cannot_be_is_a_usage_error(
    pytester: pytest.Pytester, said: str
) -> None:
    """Before any test runs, naming where it was said."""
    pytester.makepyfile("def test_it(): ...")
    done = pytester.runpytest_inprocess(*OURS, f"--rds-iam-token-lifetime={said}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*--rds-iam-token-lifetime: '{said}' is no number*from 2 to 900"])


@pytest.mark.parametrize("said", ["4", "", "lifetime=4", "token_lifetime='soon'"])
def test_a_marker_that_says_something_else_is_an_error(
    pytester: pytest.Pytester, said: str
) -> None:
    """In one line, without a traceback into the plugin."""
    pytester.makepyfile(f"import pytest\n@pytest.mark.rds_iam({said})\ndef test_it(): ...")
    done = pytester.runpytest_inprocess(*OURS)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["@pytest.mark.rds_iam: *"])
    done.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_without_the_extra_it_says_what_to_install(pytester: pytest.Pytester) -> None:
    """In one line, in the place of a traceback."""
    pytester.makeconftest("import sys\nsys.modules['trustme'] = None")
    pytester.makepyfile("def test_it(rds_iam_engine): ...")
    done = pytester.runpytest_subprocess(*OURS)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["no local RDS: *pip install 'rds-iam-async?local?'*"])
    done.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_a_schema_that_cannot_be_one(pytester: pytest.Pytester) -> None:
    """A path, say: what it should have been is said."""
    pytester.makeconftest(
        STOPPED
        + """
    @pytest.fixture(scope="session")
    def rds_iam_schema(tmp_path_factory):
        return tmp_path_factory.getbasetemp()
"""
    )
    pytester.makepyfile("def test_it(rds_iam_database): ...")
    done = pytester.runpytest_inprocess(*OURS)
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*rds_iam_schema is a PosixPath (hint: return SQL, *"])


@pytest.mark.parametrize("left_out", [True, False])
def test_it_is_there_by_itself_and_can_be_left_out(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, left_out: bool
) -> None:
    """By its entry point, whose name `-p no:` takes."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    pytester.makeconftest("" if left_out else STOPPED)
    pytester.makepyfile("def test_it(local_rds): ...")
    arguments = ["-p", "no:rds_iam_async"] if left_out else ["--rds-iam-token-lifetime=5"]
    done = pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:asyncio", *arguments)
    if left_out:
        done.assert_outcomes(errors=1)
        done.stdout.fnmatch_lines(["*fixture 'local_rds' not found"])
    else:
        done.assert_outcomes(passed=1)


def test_a_fixture_that_happens_to_have_the_name_is_let_be(pytester: pytest.Pytester) -> None:
    """Whatever a project calls `local_rds` is its own."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def local_rds():
            return "a host name"

        @pytest.mark.parametrize("repetition", range(2))
        def test_it(local_rds, repetition):
            assert local_rds == "a host name"
        """
    )
    pytester.runpytest_inprocess(*OURS).assert_outcomes(passed=2)
