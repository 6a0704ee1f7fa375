"""The SQL that makes users and databases in PostgreSQL, for names of any spelling."""

from __future__ import annotations


def set_up(user: str, database: str) -> tuple[str, ...]:
    """Return the statements for an IAM user with a database of its own, and what IAM needs."""
    own = f"CREATE DATABASE {_name(database)} OWNER {_name(user)}"
    return "CREATE ROLE rds_iam", *create_iam_user(user), own


def copy_database(source: str, target: str, owner: str) -> tuple[str, ...]:
    """Return the statements that make *target* anew: a copy of *source*, where sessions end.

    `file_copy` takes 15 ms for a small database and the default `wal_log` 26 ms; the
    checkpoints that it asks for cost nothing on a server that does not sync.
    """
    how = f"TEMPLATE {_name(source)} OWNER {_name(owner)} STRATEGY file_copy"
    sessions = f"FROM pg_stat_activity WHERE datname = {_text(source)} AND pid <> pg_backend_pid()"
    return (
        f"DROP DATABASE IF EXISTS {_name(target)} WITH (FORCE)",
        f"SELECT pg_terminate_backend(pid, 5000) {sessions}",
        f"CREATE DATABASE {_name(target)} {how}",
    )


def clear_database(database: str, owner: str) -> tuple[str, ...]:
    """Return the statements that make *database* anew, empty."""
    return copy_database("template0", database, owner)


def become(user: str) -> tuple[str, ...]:
    """Return the statements after which what is created belongs to *user*."""
    return (f"SET ROLE {_name(user)}",)


def create_iam_user(name: str) -> tuple[str, ...]:
    """Return the statements for a user who logs in with a token."""
    return f"CREATE ROLE {_name(name)} LOGIN", f"GRANT rds_iam TO {_name(name)}"


def create_password_user(name: str, password: str) -> tuple[str, ...]:
    """Return the statements for a user who logs in with *password*."""
    return (f"CREATE ROLE {_name(name)} LOGIN PASSWORD {_text(password)}",)


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(literal: str) -> str:
    return "'" + literal.replace("'", "''") + "'"
