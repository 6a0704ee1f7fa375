"""The login itself, by the app's own driver and the library's own engine, and what it tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.pool import NullPool

from .. import sync
from .._offload import in_thread
from .._open import open_engine
from ._finding import Cause, Finding, failed, ok
from ._subject import Subject

_QUESTIONS = {
    "postgresql": (
        "select current_user, current_setting('server_version'), "
        "(select pg_has_role(current_user, oid, 'member') from pg_roles where rolname = 'rds_iam')"
    ),
    "mysql": "select current_user(), version(), null",
}


SLOW = (
    "try again with a longer --timeout: a paused Aurora Serverless takes some 15 s to wake, a "
    "proxy waits for a connection to lend; if that does not help, see the database's own log"
)
"""What to do about a database that listens, and takes its time."""


_NO_LOGIN = "is not permitted to log in"
UNKNOWN_TO_PROXY = "has no credentials for the role"
_NOT_OF_TOKEN = ("pg_hba.conf", _NO_LOGIN, UNKNOWN_TO_PROXY)
"""What else has SQLSTATE 28000: who may come at all, NOLOGIN, and a proxy's own trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the server said once it had let us in.

    Attributes:
        user: Who we are to it.
        version: Of the server.
        is_member: Whether that user is a member of rds_iam; `None` where there is no such role.
    """

    user: str
    version: str
    is_member: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no session.

    Attributes:
        code: SQLSTATE, or MySQL's number; empty when the driver tells none.
        text: The server's or the driver's words.
    """

    code: str
    text: str

    @property
    def is_of_token(self) -> bool:
        """Whether the server refused the token, and not something else.

        RDS says PAM, a proxy says IAM; psycopg hands on no SQLSTATE of a failed connection.
        """
        if any(words in self.text for words in _NOT_OF_TOKEN):
            return False
        by_words = re.search("(PAM|IAM) authentication failed", self.text) is not None
        return by_words or self.code in ("28000", "1045")


async def log_in(subject: Subject, *, region: str) -> Session:
    """Log in once, and leave.

    Raises:
        Exception: Whatever the driver or the library raise.
    """
    how: dict[str, Any] = {
        "region": region,
        "token_host": subject.signed_host,
        "token_port": subject.signed_port,
        "session": subject.session,
        "poolclass": NullPool,
    }
    if "sslrootcert" not in subject.url.query and "ssl_ca" not in subject.url.query:
        how["ca_file"] = subject.ca_file
    if subject.is_async:
        async with open_engine(subject.url, **how) as engine, engine.connect() as connection:
            return await connection.run_sync(_asked, subject.family)
    return await in_thread(lambda: _log_in_now(subject, how), name="rds_iam_async-login")


def _log_in_now(subject: Subject, how: dict[str, Any]) -> Session:
    with sync.open_engine(subject.url, **how) as engine, engine.connect() as connection:
        return _asked(connection, subject.family)


def _asked(connection: Connection, family: str) -> Session:
    user, version, is_member = connection.execute(text(_QUESTIONS[family])).one()
    return Session(user=str(user), version=str(version), is_member=is_member)


def refusal(error: BaseException) -> Refusal:
    """Return what *error* says, in the words nearest to the server."""
    for one in _chain(error):
        state = getattr(one, "sqlstate", None) or getattr(one, "pgcode", None)
        if isinstance(state, str) and state:
            return Refusal(code=state, text=_first_line(str(one)) or type(one).__name__)
        if len(one.args) > 1 and isinstance(one.args[0], int) and not isinstance(one, OSError):
            return Refusal(code=str(one.args[0]), text=_first_line(str(one.args[1])))
    original = getattr(error, "orig", None) or error
    return Refusal(code="", text=_first_line(str(original)) or type(original).__name__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and what it stands for: SQLAlchemy wraps drivers, and they themselves."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [getattr(one, "orig", None), one.__cause__]


def _first_line(text: str) -> str:
    line = next(iter(text.splitlines()), "")
    # libpq puts the address before what the server said.
    said = re.sub(r"^.*?(?:FATAL|ERROR): +", "", line)
    # A server, or a pooler before it, may quote the password that it was sent.
    return re.sub(r"\S*X-Amz-\S*", "<token>", said)


def let_in(subject: Subject, session: Session) -> Finding:
    """Return that the login worked."""
    kind = "PostgreSQL" if subject.family == "postgresql" else "server version"
    return ok("login", f"{session.user} by {subject.driver.name}; {kind} {session.version}")


def refused(refusal: Refusal, causes: tuple[Cause, ...]) -> Finding:
    """Return that the token was refused, and what may be the reason.

    Args:
        refusal: In the server's words, which say no reason.
        causes: The likeliest first.
    """
    code = f" ({refusal.code})" if refusal.code else ""
    return failed(
        "login",
        f"{refusal.text}{code}: the server refuses a token of which all that can be checked from "
        f"here is good. Likeliest is {causes[0].what}",
        fix=causes[0].fix,
        causes=causes,
    )


def not_let_in(subject: Subject, refusal: Refusal) -> Finding:
    """Return that the login failed for another reason than the token."""
    code = f" ({refusal.code})" if refusal.code else ""
    return failed("login", f"{refusal.text}{code}", fix=_fix(subject, refusal))


def _fix(subject: Subject, refusal: Refusal) -> str:
    database = subject.url.database or subject.user
    said = refusal.text.lower()
    if "unexpected keyword argument" in said or "invalid connection option" in said:
        return f"take it out of the URL: {subject.driver.name} has no such argument"
    if "unrecognized configuration parameter" in said:
        return "the token was accepted: correct the setting in the URL's options"
    if _NO_LOGIN in said:
        return (
            f'the token was accepted: as the master user, say\nALTER ROLE "{subject.user}" LOGIN;'
        )
    if "not currently accepting connections" in said:
        return f"the token was accepted: correct the URL, or allow connections to {database!r}"
    if refusal.code in ("3D000", "1049") or "does not exist" in said:
        return f"the token was accepted: create the database {database!r}, or correct the URL"
    if refusal.code in ("53300", "1040", "1203") or "too many" in said or "remaining conn" in said:
        return "the token was accepted: close connections, or raise max_connections"
    if UNKNOWN_TO_PROXY in said:
        return make_known_to_proxy(subject)
    if refusal.code == "28P01" or "password authentication failed" in said:
        return f'as the master user, say\nGRANT rds_iam TO "{subject.user}";'
    if refusal.code in ("42501", "1044") or "permission denied" in said:
        return f"the token was accepted: grant CONNECT on {database!r} to {subject.user!r}"
    if not refusal.code and "no session within" in said:
        return SLOW
    if refusal.code in ("57P03", "1053"):
        return "wait until the database has started, or the failover is over"
    return "the token is good as far as can be seen from here; see the database's own log"


def make_known_to_proxy(subject: Subject) -> str:
    """Return what to do where a proxy does not know the user."""
    return f"give the proxy a secret for {subject.user!r}, and its role the right to read it"


def membership(subject: Subject, session: Session) -> Finding:
    """Return whether the user is one that IAM is for, by the database's own word."""
    if subject.family == "mysql":
        return ok("rds_iam", f"{subject.user!r} is identified with AWSAuthenticationPlugin")
    if session.is_member is None:
        return ok("rds_iam", "no such role, as behind a proxy; the server asked for a token")
    if not session.is_member and ".proxy-" in subject.signed_host:
        return ok("rds_iam", f"{session.user} is no member, and need not be behind a proxy")
    if not session.is_member:
        return failed(
            "rds_iam",
            f"{session.user} is no member of rds_iam, although it was let in by a token",
            fix=f'as the master user, say\nGRANT rds_iam TO "{session.user}";',
        )
    return ok("rds_iam", f"{session.user} is a member")
