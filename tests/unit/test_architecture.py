"""The floors of the house, its doors, and what importing it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rds_iam_async

PACKAGE = Path(rds_iam_async.__file__).parent

# Bottom floor first. A module may import only from floors below its own.
FLOORS = [
    {"_errors", "_clock", "_agenda", "_portions"},
    {"_token", "_region", "_offload", "_flight", "_to_the_end", "_loop_thread"},
    {
        "_schedule",
        "_mint",
        "_status",
        "_quiet",
        "_sdk_errors",
        "_renewal",
        "_precedence",
        "_frames",
        "_tls",
        "_limit",
        "_background",
        "telemetry",
    },
    {"_life"},
    {"_slot", "_credentials", "_drivers", "_root_file"},
    {"_credential_cache", "_inspect", "_endpoint", "_verification"},
    {"_pace", "_one_token"},
    {"_connect", "_sync_connect"},
    {"_replacement"},
    {"_supply"},
    {"_upkeep", "_stock", "_report", "_attachment", "_password"},
    {"_refresher"},
    {"_engines"},
    {"_wiring"},
    {"_engine", "sync", "_lazy"},
    {"_open", "_plugin"},
    {"__init__"},
    {"testing"},
    {"_pytest_plugin"},
    {"pytest_plugin"},
    {"_demo", "_ca_bundle", "_download", "_doctor"},
    {"_local"},
    {"_cli"},
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}

# The only modules that may import a third-party package.
DOORS = {
    "aioboto3": {"_credentials"},
    "aiobotocore": {"_credentials"},
    "sqlalchemy": {
        "_engine",
        "_open",
        "sync",
        "_lazy",
        "_plugin",
        "_engines",
        "_inspect",
        "_attachment",
        "_endpoint",
    },
    "asyncpg": {"_drivers"},
    "psycopg": {"_drivers"},
    "psycopg2": {"_drivers"},
    "asyncmy": {"_drivers"},
    "aiomysql": {"_drivers"},
    "pymysql": {"_drivers"},
    "aiolimiter": {"_limit"},
    "opentelemetry": {"telemetry"},
    "prometheus_client": {"telemetry"},
    "cryptography": {"_ca_bundle"},
    "botocore": set(),
    "boto3": set(),
}

LEFT = {
    "_mint",
    "_replacement",
    "_credentials",
    "_credential_cache",
    "_precedence",
    "_supply",
    "_upkeep",
    "_refresher",
    "_agenda",
    "_flight",
}
RIGHT = {"_connect", "_sync_connect", "_pace", "_drivers", "_verification", "_inspect"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield parts[0], path


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield what a file imports: a module of ours (True) or a package of others (False)."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.partition(".")[0], False
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            first, _, rest = (node.module or "").partition(".")
            if first == "rds_iam_async":
                yield (rest.partition(".")[0] or "__init__"), True
            else:
                yield first, False
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            if node.module:
                yield node.module.partition(".")[0], True
            else:
                for alias in node.names:
                    name = alias.name
                    yield (name if name in FLOOR_OF else "__init__"), True


ALL = list(modules())


def test_every_module_has_a_floor() -> None:
    """A new module says where it stands."""
    assert {name for name, _ in ALL} - set(FLOOR_OF) == set()


@pytest.mark.parametrize(("name", "path"), ALL, ids=[str(p.relative_to(PACKAGE)) for _, p in ALL])
def test_imports_go_down(name: str, path: Path) -> None:
    """Never up, never sideways in a ring; one third-party library, one door."""
    for imported, ours in imports(path):
        if ours and imported != name:
            assert FLOOR_OF[imported] < FLOOR_OF[name], f"{name} imports {imported}"
        elif not ours and FLOOR_OF[name] < FLOOR_OF["testing"]:
            assert name in DOORS.get(imported, {name}), f"{name} imports {imported}"


def test_who_writes_the_slot_and_who_reads_it_do_not_know_each_other() -> None:
    """The two halves of the picture meet in the slot and in the wiring only."""
    for name, path in ALL:
        ours = {imported for imported, is_ours in imports(path) if is_ours}
        if name in LEFT:
            assert not ours & RIGHT, name
        if name in RIGHT:
            assert not ours & LEFT, name


def test_what_looks_at_real_databases_knows_no_local_one() -> None:
    """The commands for production work without the extra `local`."""
    for name, path in ALL:
        if name in {"_doctor", "_ca_bundle", "_download", "_one_token"}:
            assert ("testing", True) not in set(imports(path)), path


def test_the_public_names_are_the_promised_ones() -> None:
    """DESIGN: a name more is a promise more."""
    assert set(rds_iam_async.__all__) == {
        "open_engine",
        "TokenRefresher",
        "Endpoint",
        "Token",
        "Credentials",
        "CredentialSource",
        "RefreshPolicy",
        "Status",
        "EndpointStatus",
        "RdsIamError",
        "ConfigurationError",
        "MintError",
        "CredentialsError",
        "TokenUnavailableError",
    }


def test_importing_it_does_not_import_the_aws_sdk() -> None:
    """aioboto3 costs 180 ms and 25 MiB: only who resolves credentials pays, off the loop."""
    code = (
        "import sys, rds_iam_async.telemetry\n"
        "from rds_iam_async import *\n"
        "heavy = {'aioboto3', 'aiobotocore', 'boto3', 'botocore', 'aiohttp', 'trustme', 'typer',\n"
        "         'opentelemetry', 'prometheus_client'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[]\n", "")


def test_pytest_pays_next_to_nothing_for_the_plugin() -> None:
    """It is imported in every run of every project that shares an environment with us."""
    code = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import rds_iam_async.pytest_plugin\n"
        "print(sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    ours = ["rds_iam_async", "rds_iam_async.pytest_plugin"]
    assert (run.stdout, run.stderr) == (f"{ours}\n", "")


def test_the_public_names_are_where_they_are_said_to_be() -> None:
    """They are imported when they are asked for; others are refused as by any module."""
    for name in rds_iam_async.__all__:
        assert getattr(rds_iam_async, name).__name__ == name
    assert set(rds_iam_async.__all__) <= set(dir(rds_iam_async))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = rds_iam_async.nonsense  # type: ignore[attr-defined]
