"""The SQL that makes users and databases in MariaDB, for names of any spelling."""

from __future__ import annotations

import re

# How RDS has an IAM user declared:
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.DBAccounts.html
_BY_TOKEN = "IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'"

# Texts, names and comments come first: what looks like the clause in there is none.
_CLAUSE = re.compile(
    r"""
    (?P<other> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`]|``)*`
             | \#[^\n]* | --\s[^\n]* | /\*.*?\*/ )
    | \b IDENTIFIED \s+ (?:WITH|VIA) \s+ AWSAuthenticationPlugin \b
      (?: \s+ (?:AS|USING|BY) \s* (?:'RDS'|"RDS") )?
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


def set_up(user: str, database: str) -> tuple[str, ...]:
    """Return the statements for an IAM user with a database of its own."""
    # In a grant, unlike anywhere else, a database's name is a pattern.
    pattern = re.sub(r"([\\_%])", r"\\\1", database)
    return (
        f"CREATE DATABASE {_name(database)}",
        *create_iam_user(user),
        f"GRANT ALL PRIVILEGES ON {_name(pattern)}.* TO {_text(user)}",
    )


def clear_database(database: str, owner: str) -> tuple[str, ...]:
    """Return the statements that make *database* anew, empty. Grants on its name stay."""
    return f"DROP DATABASE IF EXISTS {_name(database)}", f"CREATE DATABASE {_name(database)}"


def become(user: str) -> tuple[str, ...]:
    """Return nothing: tables in MariaDB belong to nobody."""
    return ()


def create_iam_user(name: str) -> tuple[str, ...]:
    """Return the statements for a user who logs in with a token, as RDS would have them."""
    return (f"CREATE USER {_text(name)} {_BY_TOKEN}",)


def create_password_user(name: str, password: str) -> tuple[str, ...]:
    """Return the statements for a user who logs in with *password*."""
    return (f"CREATE USER {_text(name)} IDENTIFIED BY {_text(password)}",)


def without_plugin(sql: str, *, password_hash: str) -> str:
    """Return *sql* with a password in the place of RDS's plugin, which only RDS has."""
    clause = f"IDENTIFIED VIA mysql_native_password USING '{password_hash}'"
    return _CLAUSE.sub(lambda found: found["other"] or clause, sql)


def _name(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def _text(literal: str) -> str:
    return "'" + literal.replace("\\", "\\\\").replace("'", "''") + "'"
