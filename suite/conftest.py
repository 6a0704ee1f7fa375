"""Runs SQLAlchemy's test plugin, as its README.dialects.rst says, and sets its engines' options."""

import pytest

pytest.register_assert_rewrite("sqlalchemy.testing.assertions")

from sqlalchemy.pool import NullPool  # noqa: E402
from sqlalchemy.testing import provision  # noqa: E402
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F403

# The role that logs in may only read (see run.py). These take that back, so a connection
# that lost its connect_args on the way fails the first test that writes.
WRITABLE = {
    "asyncpg": {"server_settings": {"default_transaction_read_only": "off"}},
    "psycopg_async": {"options": "-c default_transaction_read_only=off"},
}


@provision.update_db_opts.for_db("postgresql")
def update_db_opts(db_url, db_opts, options):
    """Let each test open its own connections, so that each goes through what is compared."""
    db_opts["poolclass"] = NullPool
    db_opts["connect_args"] = WRITABLE[provision.sa_url.make_url(db_url).get_driver_name()]
