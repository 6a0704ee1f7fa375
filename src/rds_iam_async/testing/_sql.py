"""The SQL that makes users and databases, for names of any spelling."""

from __future__ import annotations


def create_iam_user(name: str) -> tuple[str, ...]:
    """Return the statements for a user who logs in with a token."""
    return f"CREATE ROLE {_name(name)} LOGIN", f"GRANT rds_iam TO {_name(name)}"


def create_password_user(name: str, password: str) -> str:
    """Return the statement for a user who logs in with *password*."""
    return f"CREATE ROLE {_name(name)} LOGIN PASSWORD {_text(password)}"


def create_database(name: str, *, owner: str) -> str:
    """Return the statement for a database of *owner*."""
    return f"CREATE DATABASE {_name(name)} OWNER {_name(owner)}"


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(literal: str) -> str:
    return "'" + literal.replace("'", "''") + "'"
