"""One local RDS for all pages."""

from collections.abc import Iterator

import pytest

from rds_iam_async.testing import LocalRds


@pytest.fixture(scope="session")
def running_rds() -> Iterator[LocalRds]:
    with LocalRds() as rds:
        yield rds


@pytest.fixture
def rds(running_rds: LocalRds) -> Iterator[LocalRds]:
    """A local RDS as good as new, for one page."""
    running_rds.log.clear()
    yield running_rds
    running_rds.token_lifetime = 900
    running_rds.refuse(0)
    running_rds.trust(running_rds.credentials)
