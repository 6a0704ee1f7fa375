"""One local RDS for all pages, and all of AWS for those that need a place there."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from rds_iam_async.testing import LocalAws, LocalRds

DROP_TABLES = """
do $$ declare one record; begin
    for one in select tablename from pg_tables where schemaname = 'public' loop
        execute 'drop table ' || quote_ident(one.tablename) || ' cascade';
    end loop;
end $$
"""


@pytest.fixture(scope="session")
def running_rds() -> Iterator[LocalRds]:
    with LocalRds() as rds:
        yield rds


@pytest.fixture
def rds(running_rds: LocalRds) -> Iterator[LocalRds]:
    """A local RDS as good as new, for one page."""
    running_rds.log.clear()
    yield running_rds
    running_rds.execute(DROP_TABLES)  # also those of a page that failed half-way
    running_rds.token_lifetime = 900
    running_rds.refuse(0)
    running_rds.trust(running_rds.credentials)


class Places:
    """Where on AWS a page believes to run.

    Attributes:
        now: What gives it its keys; `None` where these are in plain variables.
    """

    def __init__(self, rds: LocalRds, cleanup: contextlib.ExitStack) -> None:
        self._rds = rds
        self._cleanup = cleanup
        self.now: LocalAws | None = None

    def run_on(self, provider: str) -> LocalAws:
        """Let the rest of the page get its keys from *provider*, and from nowhere else."""
        self.now = self._cleanup.enter_context(LocalAws(self._rds))
        self._cleanup.enter_context(self.now.installed(provider))
        return self.now


@pytest.fixture
def places(rds: LocalRds) -> Iterator[Places]:
    """Where a page runs; what it sets in the environment goes with it."""
    before = dict(os.environ)
    with contextlib.ExitStack() as cleanup:
        yield Places(rds, cleanup)
    os.environ.clear()
    os.environ.update(before)
