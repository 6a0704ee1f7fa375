import os
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# A project of its own, with tests of its own: `local/test_pytest_plugin.py` runs them.
collect_ignore = ["foreign_project"]

# What takes seconds and does not depend on the pair of Python and SQLAlchemy: CI runs it
# once, and the rest on all pairs of its matrix (`-m "not slow"`).
SLOW = (
    "docs/",
    "hosts/",
    "local/test_ca_bundle.py",
    "local/test_cli.py",
    "local/test_commands.py",
    "local/test_contenders.py",
    "local/test_credentials_done_right.py",
    "local/test_dask_example.py",
    "local/test_doctor.py",
    "local/test_examples.py",
    "local/test_faults",
    "local/test_gate.py",
    "local/test_lambda.py",
    "local/test_local_aws.py",
    "local/test_local_rds.py",
    "local/test_mariadb.py",
    "local/test_metrics.py",
    "local/test_pytest_plugin.py",
    "local/test_readme.py",
    "local/test_sync_examples.py",
    "local/test_taskiq_example.py",
    "local/test_tenants.py",
    "local/test_web_examples.py",
    "unit/test_alerts.py",
    "unit/test_log_outage.py",
    "unit/test_metrics.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whole files as slow, and give them time where all cores are busy."""
    for item in items:
        if item.path.relative_to(TESTS).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(120))


@pytest.fixture
def anyio_backend() -> str:
    """SQLAlchemy's asyncio extension knows asyncio only."""
    return "asyncio"


@pytest.fixture(autouse=True)
def the_environment_stays() -> Iterator[None]:
    """What a test leaves in the environment would decide about another, far away."""
    before = {**os.environ, "PYTEST_CURRENT_TEST": ""}
    yield
    after = {**os.environ, "PYTEST_CURRENT_TEST": ""}
    if after != before:
        os.environ.clear()
        os.environ.update(before)
        changed = {name for name, _ in before.items() ^ after.items()}
        pytest.fail(f"left changed in the environment: {sorted(changed)}")
