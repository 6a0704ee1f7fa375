"""Findings about the database user: does the server want a token of it?"""

from __future__ import annotations

from ._finding import Finding, failed, ok
from ._knock import Reply
from ._login import SLOW, UNKNOWN_TO_PROXY, make_known_to_proxy
from ._subject import Subject

NAME = "iam user"


def other_spellings(user: str) -> list[str]:
    """Return what *user* may have been meant to be: names are compared to the letter."""
    return [name for name in dict.fromkeys((user.lower(), user.capitalize())) if name != user]


def iam_user(subject: Subject, reply: Reply, *, meant: str | None) -> Finding:
    """Return whether the server takes a token from this user.

    Args:
        subject: Who wants to log in.
        reply: What the server wants of the user.
        meant: Another spelling, of which it does want a token.
    """
    user = subject.user
    if reply.wants == "token":
        how = "AWSAuthenticationPlugin" if subject.family == "mysql" else "members of rds_iam"
        return ok(NAME, f"the server asks {user!r} for a token, as it does {how}")
    if reply.wants == "proof" and meant is not None:
        return failed(
            NAME,
            f"{user!r} is no IAM user, but {meant!r} is: names are compared to the letter",
            fix=f"write {meant} in the URL, and in the policy",
        )
    if reply.wants == "proof":
        return _no_iam_user(subject, reply)
    if reply.wants == "nothing":
        return failed(
            NAME,
            f"the server lets {user!r} in without any password",
            fix="this is no RDS with IAM authentication: check the host and the port",
        )
    return _turned_away(subject, reply)


def _no_iam_user(subject: Subject, reply: Reply) -> Finding:
    user = subject.user
    if subject.family == "mysql":
        return failed(
            NAME,
            f"the server does not ask {user!r} for a token but for a password ({reply.said}): the "
            "user is not identified with AWSAuthenticationPlugin, or does not exist",
            fix="as the master user, say\n"
            f"CREATE USER '{user}' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS';\n"
            f"ALTER USER '{user}'@'%' REQUIRE SSL;",
        )
    if ".proxy-" in subject.signed_host:
        return failed(
            NAME,
            f"the proxy asks {user!r} for {reply.said}, not for a token: its IAM authentication "
            "is not required of this user",
            fix="set it to Required for the secret of this user, in the proxy's authentication",
        )
    return failed(
        NAME,
        f"the server asks {user!r} for {reply.said}, not for a token: the role is not granted "
        "rds_iam, or does not exist; or the instance's IAM authentication is off",
        fix=f'as the master user, say\nGRANT rds_iam TO "{user}";',
    )


def _turned_away(subject: Subject, reply: Reply) -> Finding:
    said = reply.said
    if said.startswith(("53300", "1040", "1203")):
        fix = "close connections, or raise max_connections; IAM has nothing to do with it"
    elif "pg_hba.conf" in said:
        fix = f"check the database's name {subject.url.database!r}, and that the host is RDS"
    elif said.startswith(("57P03", "1053")):
        fix = "wait until the database has started, or the failover is over"
    elif said.startswith(("no answer within", "not done within")):
        fix = SLOW
    elif UNKNOWN_TO_PROXY in said:
        fix = make_known_to_proxy(subject)
    elif said.startswith("1129"):
        fix = "unblock this machine: as the master user, say\nFLUSH HOSTS;"
    else:
        fix = "see the database's own log"
    return failed(NAME, f"the server answers {subject.user!r}: {said}", fix=fix)
