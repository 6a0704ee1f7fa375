"""The SQL that makes users and databases in PostgreSQL, for names of any spelling."""

from __future__ import annotations


def set_up(user: str, database: str) -> tuple[str, ...]:
    """Return the statements for an IAM user with a database of its own, and what IAM needs."""
    own = f"CREATE DATABASE {_name(database)} OWNER {_name(user)}"
    return "CREATE ROLE rds_iam", *create_iam_user(user), own


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
