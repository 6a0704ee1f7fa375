"""SQLAlchemy's dialect test suite, all of it."""

from sqlalchemy.testing.suite import *  # noqa: F403
