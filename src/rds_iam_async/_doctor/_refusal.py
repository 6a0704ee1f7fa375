"""Why a server refused a token that looks good, and says no reason: the likeliest cause first."""

from __future__ import annotations

from collections.abc import Iterator

from .._endpoint import BY_HOST, FoundRegion
from .._region import doubt_about
from ._aws import Caller, Keys
from ._finding import Cause
from ._subject import Subject


def causes(
    subject: Subject, *, found: FoundRegion, keys: Keys, caller: Caller
) -> tuple[Cause, ...]:
    """Return what remains, when all that comes before a login has been found good.

    Args:
        subject: Who wanted to log in where.
        found: The region that was signed for.
        keys: What signed.
        caller: What STS said of these keys.
    """
    return (
        *_where_nobody_vouches(subject, found, keys, caller),
        *_permission(subject, found, caller),
        *_rarely(subject, keys),
    )


def _where_nobody_vouches(
    subject: Subject, found: FoundRegion, keys: Keys, caller: Caller
) -> Iterator[Cause]:
    """Yield what no check could confirm, and so is doubtful first."""
    if found.source != BY_HOST:
        yield Cause(
            what=f"the region: no name confirms {found.region}, {found.source}",
            fix="pass --region with the database's own region, or --token-host with its RDS name",
        )
    if caller.arn is None and keys.credentials.session_token is not None:
        yield Cause(
            what="the credentials: STS could not say whether this session is still good",
            fix="renew them, and try again",
        )
    if caller.skew is None:
        yield Cause(
            what="the clock: it could not be compared with AWS's, which allows 5 min",
            fix="compare it: 'timedatectl', 'chronyc tracking'",
        )
    usual = subject.driver.default_port
    is_tunnel = subject.host.lower() != subject.signed_host
    if is_tunnel and subject.token_port is None and subject.port != usual:
        yield Cause(
            what=f"the port: tokens are signed for {subject.port}, which is what the tunnel "
            f"listens on, and have to be for the database's own, mostly {usual}",
            fix=f"pass --token-port {usual} (token_port= in the app)",
        )
    elif doubt_about(subject.signed_host):
        yield Cause(
            what=f"the name: tokens are signed for {subject.signed_host}:{subject.signed_port}, "
            "which has to be the database's own RDS name and its own port",
            fix="pass --token-host and --token-port with those of the RDS console",
        )


def _permission(subject: Subject, found: FoundRegion, caller: Caller) -> Iterator[Cause]:
    who = caller.arn or "the identity behind these keys"
    user = subject.user
    yield Cause(
        what=f"the policy: {who} is not allowed rds-db:connect on dbuser:*/{user}",
        fix=f"attach the policy below; it names {found.region}, the account of the database, and "
        "the user to the letter",
    )
    if user != user.lower():
        yield Cause(
            what=f"the spelling: IAM compares the user {user!r} to the letter",
            fix="write the policy's dbuser exactly like the URL's user",
        )
    yield Cause(
        what="the resource: the policy names another database's resource id, such as the one "
        "before a restore; or the database is in another account than "
        f"{caller.account or 'the keys'}",
        fix="compare it with DbiResourceId or DbClusterResourceId; across accounts, assume a role "
        "of the database's account",
    )
    yield Cause(
        what="a deny: a service control policy, permission boundary or session policy forbids "
        "rds-db:connect",
        fix="look for it in CloudTrail and with the IAM policy simulator",
    )


def _rarely(subject: Subject, keys: Keys) -> Iterator[Cause]:
    if keys.credentials.session_token is not None:
        yield Cause(
            what="the session was revoked (AWSRevokeOlderSessions) after it was handed out",
            fix="get a new one: log in again, restart the task",
        )
    setting = "instance, cluster or proxy"
    yield Cause(
        what=f"IAM authentication was switched on for this {setting} only just now, or off",
        fix="see IAMDatabaseAuthenticationEnabled in 'aws rds describe-db-instances'",
    )
    yield Cause(
        what="throttling: RDS checks about 200 new IAM connections a second",
        fix="pool connections; see IamDbAuthConnectionFailureThrottling in CloudWatch, and "
        "export the iam-db-auth-error log, which says the reason",
    )
