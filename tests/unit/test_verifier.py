"""The local RDS accepts what AWS's own SDK signs, and refuses everything else."""

import random
import re
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

import boto3
import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SigningKey
from hypothesis import given
from hypothesis.strategies import text

from rds_iam_async import _token
from rds_iam_async.testing._claims import Refused, read_claims
from rds_iam_async.testing._verifier import Verifier

ENDPOINT = _token.Endpoint(
    host="mydb.abc.eu-west-1.rds.amazonaws.com", port=5432, user="app", region="eu-west-1"
)
KEY = _token.Credentials(
    access_key_id="AKIDEXAMPLE", secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)
ROLE = _token.Credentials(
    access_key_id="ASIAEXAMPLE",
    secret_access_key="secret+of/the+role",
    session_token="IQoJb3JpZ2luX2VjE+/=" * 30,
)


def presign(
    key: _token.Credentials = KEY,
    *,
    host: str = ENDPOINT.host,
    port: int = ENDPOINT.port,
    user: str = ENDPOINT.user,
    region: str = ENDPOINT.region,
    service: str = "rds-db",
    action: str = "connect",
    expires: int = 900,
) -> str:
    """Sign as botocore's `generate_db_auth_token` does, with parts of our own."""
    url = f"https://{host}:{port}/?Action={action}&DBUser={quote(user, safe='')}"
    request = AWSRequest("GET", url)
    signing_key = SigningKey(key.access_key_id, key.secret_access_key, key.session_token)
    SigV4QueryAuth(signing_key, service, region, expires=expires).add_auth(request)
    return str(request.url).removeprefix("https://")


def dated(token: str) -> float:
    """Return when *token* says that it was signed, so that tests need no clock."""
    match = re.search("X-Amz-Date=([0-9TZ]+)", token)
    assert match is not None
    return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def verifier(lifetime: float = 900) -> Verifier:
    """Return one that trusts `KEY` and `ROLE`."""
    verifier = Verifier(lifetime=lifetime)
    verifier.trust(KEY)
    verifier.trust(ROLE)
    return verifier


def refusal(
    token: str, *, by: Verifier | None = None, now: float, endpoint: _token.Endpoint = ENDPOINT
) -> Refused:
    with pytest.raises(Refused) as refused:
        (by or verifier()).check(token, endpoint, now=now)
    return refused.value


@pytest.mark.parametrize("key", [KEY, ROLE], ids=["user", "role session"])
@pytest.mark.parametrize("user", ["app", "app-user.x@corp", "we ird+us/er=%~é", "数据", "a&b#c"])
def test_a_token_of_boto3_is_accepted(key: _token.Credentials, user: str) -> None:
    """AWS's own SDK is the judge of what a token looks like, for any user name."""
    client = boto3.client(
        "rds",
        region_name=ENDPOINT.region,
        aws_access_key_id=str(key.access_key_id),
        aws_secret_access_key=str(key.secret_access_key),
        aws_session_token=None if key.session_token is None else str(key.session_token),
    )
    token = client.generate_db_auth_token(ENDPOINT.host, ENDPOINT.port, user)
    endpoint = _token.Endpoint(
        host=ENDPOINT.host, port=ENDPOINT.port, user=user, region=ENDPOINT.region
    )
    assert verifier().check(token, endpoint, now=dated(token)) == key.access_key_id


def test_the_published_token_of_botocores_own_tests_is_accepted() -> None:
    """A signature from 2016 that nobody here computed.

    Source: botocore, tests/unit/test_signers.py, TestGenerateDBAuthToken.
    """
    token = (
        "prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect"
        "&DBUser=someusername&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=akid%2F20161107%2Fus-east-1%2Frds-db%2Faws4_request"
        "&X-Amz-Date=20161107T173933Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=d1138cdbc0ca63eec012ec0fc6c2267e03642168f5884a7795320d4c18374c61"
    )
    endpoint = _token.Endpoint(
        host="prod-instance.us-east-1.rds.amazonaws.com",
        port=3306,
        user="someusername",
        region="us-east-1",
    )
    judge = Verifier(lifetime=900)
    judge.trust(_token.Credentials(access_key_id="akid", secret_access_key="skid"))
    assert judge.check(token, endpoint, now=1478540373.0) == "akid"


def test_the_order_of_parameters_and_the_slash_are_the_sdks_choice() -> None:
    """JavaScript's SDK sorts all parameters, Go's leaves out the slash; AWS takes them."""
    token = presign(ROLE)
    address, query = token.split("/?")
    parameters = query.split("&")
    random.Random(1).shuffle(parameters)
    for other in (f"{address}/?{'&'.join(parameters)}", f"{address}?{query}"):
        assert verifier().check(other, ENDPOINT, now=dated(token)) == ROLE.access_key_id


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (lambda: presign(host="other.eu-west-1.rds.amazonaws.com"), "signed for 'other"),
        (lambda: presign(port=5433), ":5433', here it is"),
        (lambda: presign(region="us-east-1"), "region 'us-east-1'"),
        (lambda: presign(user="bob"), "signed for user 'bob', not 'app'"),
        (lambda: presign(user="App"), "signed for user 'App', not 'app'"),
        (lambda: presign(service="rds"), "service 'rds'"),
        (lambda: presign(action="shutdown"), "Action is 'shutdown'"),
        (lambda: presign(expires=901), "X-Amz-Expires is 901"),
        (lambda: presign(expires=0), "X-Amz-Expires is 0"),
        (lambda: presign() + "&DBUser=app", "a parameter is repeated"),
        (lambda: presign(_other_secret(KEY)), "the signature is wrong"),
        (lambda: presign(_other_secret(ROLE)), "the signature is wrong"),
        (lambda: presign(_unknown()), "'AKIAUNKNOWN' is not trusted"),
        (lambda: presign(_without_session(ROLE)), "the session token is not that of the key"),
        (lambda: presign(_with_session(KEY)), "the session token is not that of the key"),
        (lambda: presign() + "&extra=1", "the signature is wrong"),
        (lambda: presign()[:-1], "the signature is wrong"),
        (lambda: presign().replace("=host", "=host%3Bdate"), "not signed over 'host'"),
        (lambda: presign().replace("HMAC-SHA256", "HMAC-SHA1"), "not signed over 'host'"),
        (lambda: re.sub("%2F[0-9]{8}%2F", "%2F20010101%2F", presign()), "key of another day"),
        (lambda: re.sub("Date=[0-9]{8}T", "Date=2026T", presign()), "X-Amz-Date is not"),
        (lambda: re.sub("Date=[0-9]{8}T", "Date=20269999T", presign()), "X-Amz-Date is not"),
        (lambda: presign().replace("Expires=900", "Expires=nine"), "X-Amz-Expires is not"),
        (lambda: presign().replace("%2Faws4_request", ""), "five parts"),
        (lambda: presign().replace("/?", "/x?"), "it has a path"),
        (lambda: presign().replace(":5432", ""), "here it is"),
        (lambda: "admin@" + presign(), "here it is"),
        (lambda: presign() + "#x", "no token has"),
        (lambda: presign() + "\n", "no token has"),
        (lambda: "https://" + presign(), "it has a path"),
    ],
)
def test_a_token_that_is_not_quite_right_is_refused(token: Callable[[], str], reason: str) -> None:
    """Each part of a token is checked, and the log says which one was wrong."""
    password = token()
    assert reason in refusal(password, now=dated(presign())).reason


@pytest.mark.parametrize("parameter", ["Action", "DBUser", "X-Amz-Date", "X-Amz-Signature"])
def test_a_token_that_lacks_a_parameter_is_no_token(parameter: str) -> None:
    """The log names what is missing."""
    token = re.sub(f"[&]?{parameter}=[^&]*", "", presign())
    assert refusal(token, now=0).reason == f"not a token: {parameter} is missing"


@given(text())
def test_any_other_password_is_refused_and_never_quoted(password: str) -> None:
    """Somebody's real password, sent to the wrong server, does not end in its log."""
    reason = refusal("sesame" + password, now=0).reason
    assert reason.startswith("not a token: ")
    assert "sesame" not in reason


def test_the_empty_password_is_refused() -> None:
    """Trusted by PostgreSQL is not let in."""
    assert refusal("", now=0).reason.startswith("not a token: ")


def test_a_token_ends_on_the_second() -> None:
    """It is good for 900 s from X-Amz-Date on, and not an instant longer."""
    token = presign()
    assert verifier().check(token, ENDPOINT, now=dated(token) + 899.999) == KEY.access_key_id
    assert refusal(token, now=dated(token) + 900).reason == "expired 0.000 s ago"


def test_a_token_ends_as_early_as_it_says_itself() -> None:
    """X-Amz-Expires may be shorter than the server's limit."""
    token = presign(expires=60)
    assert refusal(token, now=dated(token) + 60).reason == "expired 0.000 s ago"


def test_the_servers_limit_may_be_shorter_and_may_change() -> None:
    """Compressed time: the same token is judged by the limit of the moment."""
    judge, token = verifier(lifetime=2.5), presign()
    assert judge.check(token, ENDPOINT, now=dated(token) + 2.4) == KEY.access_key_id
    assert refusal(token, by=judge, now=dated(token) + 3).reason == "expired 0.500 s ago"
    judge.lifetime = 4
    assert judge.check(token, ENDPOINT, now=dated(token) + 3) == KEY.access_key_id


def test_a_clock_may_go_five_minutes_ahead_and_no_more() -> None:
    """As for all of AWS's signatures."""
    token = presign()
    assert verifier().check(token, ENDPOINT, now=dated(token) - 300) == KEY.access_key_id
    assert refusal(token, now=dated(token) - 300.5).reason == "dated 300.5 s in the future"


def test_a_token_dies_with_the_key_that_signed_it() -> None:
    """However young it is."""
    token = presign(ROLE)
    judge = verifier()
    judge.trust(_until(ROLE, dated(token) + 10))
    assert judge.check(token, ENDPOINT, now=dated(token) + 9.9) == ROLE.access_key_id
    reason = refusal(token, by=judge, now=dated(token) + 10).reason
    assert reason == "the key that signed it expired 0.000 s ago"


def test_a_key_that_is_distrusted_has_never_been_good() -> None:
    """Its young tokens are refused; those of other keys are not."""
    judge, token = verifier(), presign(ROLE)
    judge.distrust(ROLE.access_key_id)
    judge.distrust("never seen")
    assert "is not trusted" in refusal(token, by=judge, now=dated(token)).reason
    assert judge.check(presign(), ENDPOINT, now=dated(token)) == KEY.access_key_id


def test_a_revocation_covers_the_second_it_happens_in() -> None:
    """Dated in whole seconds: what was signed in that second cannot be told from its elders."""
    judge, token = verifier(), presign()
    judge.revoke(dated(token) + 0.001)
    refused = refusal(token, by=judge, now=dated(token) + 0.5)
    assert (refused.reason, refused.access_key_id) == ("revoked", KEY.access_key_id)
    assert refused.not_before == dated(token) + 1


def test_a_revocation_does_not_reach_the_next_second() -> None:
    """Who mints after the second is over is let in."""
    judge, token = verifier(), presign()
    judge.revoke(dated(token) - 0.001)
    assert judge.check(token, ENDPOINT, now=dated(token)) == KEY.access_key_id


def test_a_key_that_is_trusted_after_a_revocation_is_not_touched_by_it() -> None:
    """It has signed nothing before."""
    judge, token = Verifier(lifetime=900), presign()
    judge.revoke(dated(token))
    judge.trust(KEY)
    assert judge.check(token, ENDPOINT, now=dated(token)) == KEY.access_key_id


def test_a_key_connects_only_as_the_users_of_its_policy() -> None:
    """What `rds-db:connect` allows."""
    judge, token = verifier(), presign()
    judge.trust(KEY, users=["bob"])
    assert refusal(token, by=judge, now=dated(token)).reason == "the key may not connect as 'app'"
    judge.trust(KEY, users=["bob", "app"])
    assert judge.check(token, ENDPOINT, now=dated(token)) == KEY.access_key_id


def test_a_refusal_names_the_key_whose_token_it_was() -> None:
    """And no secret of it."""
    refused = refusal(presign(_other_secret(ROLE)), now=dated(presign()))
    assert refused.access_key_id == ROLE.access_key_id
    for secret in (ROLE.secret_access_key, str(ROLE.session_token)):
        assert secret not in repr(refused) + repr(vars(refused))


def test_no_repr_shows_a_secret() -> None:
    """Neither the table of keys nor what was read from a token."""
    judge = verifier()
    shown = repr(judge) + repr(vars(judge))
    shown += repr(read_claims(presign(ROLE)))
    for secret in (KEY.secret_access_key, ROLE.secret_access_key, ROLE.session_token):
        assert str(secret) not in shown


def _other_secret(key: _token.Credentials) -> _token.Credentials:
    return _token.Credentials(
        access_key_id=key.access_key_id,
        secret_access_key="another",
        session_token=key.session_token,
    )


def _unknown() -> _token.Credentials:
    return _token.Credentials(access_key_id="AKIAUNKNOWN", secret_access_key=KEY.secret_access_key)


def _without_session(key: _token.Credentials) -> _token.Credentials:
    return _token.Credentials(
        access_key_id=key.access_key_id, secret_access_key=key.secret_access_key
    )


def _with_session(key: _token.Credentials) -> _token.Credentials:
    return _token.Credentials(
        access_key_id=key.access_key_id,
        secret_access_key=key.secret_access_key,
        session_token="of/another+role",
    )


def _until(key: _token.Credentials, expires_at: float) -> _token.Credentials:
    return _token.Credentials(
        access_key_id=key.access_key_id,
        secret_access_key=key.secret_access_key,
        session_token=key.session_token,
        expires_at=expires_at,
    )
