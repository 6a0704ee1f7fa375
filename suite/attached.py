"""A pytest plugin that gives every engine of the suite its tokens: all of what "with" adds."""

import json
import os
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

from rds_iam_async import RefreshPolicy, TokenRefresher

# Tokens that rotate during the run; and patience, since the AWS SDK is imported meanwhile.
refresher = TokenRefresher(policy=RefreshPolicy(lifetime=10, wait=60))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """Take SQLAlchemy's hook for what else a dialect does to each engine under test."""
    from sqlalchemy.testing import provision  # not before SQLAlchemy's own plugin

    provision.post_configure_testing_engine.for_db("postgresql")(attach)


def attach(url, engine, options, scope):
    """Attach in the loop, and the greenlet, that the tests run in."""
    refresher.attach(engine if isinstance(engine, AsyncEngine) else AsyncEngine(engine))
    await_only(refresher.start(timeout=60))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    """Leave word of how many tokens there were."""
    from sqlalchemy.testing import asyncio

    Path(os.environ["SUITE_STATUS"]).write_text(json.dumps(refresher.status().to_dict()))
    asyncio._run_coroutine_function(refresher.aclose)
