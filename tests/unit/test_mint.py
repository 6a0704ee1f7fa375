"""L1, L2: what is signed, byte for byte, and how long it is believed."""

from __future__ import annotations

import datetime as dt
import logging
import math
from urllib.parse import parse_qs

import botocore.session
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from rds_iam_async import Credentials, Endpoint
from rds_iam_async._mint import mint

REGIONS = ["eu-west-1", "us-east-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1"]
KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/+="


def test_the_golden_token_of_botocores_own_suite() -> None:
    """L1: the published vector comes out bit for bit (botocore test_signers.py)."""
    endpoint = Endpoint(
        host="prod-instance.us-east-1.rds.amazonaws.com",
        port=3306,
        user="someusername",
        region="us-east-1",
    )
    credentials = Credentials(access_key_id="akid", secret_access_key="skid")
    instant = dt.datetime(2016, 11, 7, 17, 39, 33, tzinfo=dt.UTC).timestamp()
    assert mint(endpoint, credentials, now=instant).password == (
        "prod-instance.us-east-1.rds.amazonaws.com:3306/?Action=connect"
        "&DBUser=someusername&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=akid%2F20161107%2Fus-east-1%2Frds-db%2Faws4_request"
        "&X-Amz-Date=20161107T173933Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=d1138cdbc0ca63eec012ec0fc6c2267e03642168f5884a7795320d4c18374c61"
    )


SESSION = botocore.session.Session()


def by_botocore(host: str, endpoint: Endpoint, credentials: Credentials) -> tuple[str, float]:
    """Return botocore's own token, made now, and the instant that it says."""
    client = SESSION.create_client(
        "rds",
        region_name="us-east-1",
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
    )
    token = client.generate_db_auth_token(
        DBHostname=host, Port=endpoint.port, DBUsername=endpoint.user, Region=endpoint.region
    )
    stamp = parse_qs(token)["X-Amz-Date"][0]
    return token, dt.datetime.strptime(stamp + "+0000", "%Y%m%dT%H%M%SZ%z").timestamp()


labels = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?", fullmatch=True)
hosts = st.lists(labels, min_size=1, max_size=5).map(".".join)
users = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=63
)
keys = st.text(KEY_ALPHABET, min_size=1, max_size=64)


@st.composite
def credentials(draw: st.DrawFn) -> Credentials:
    return Credentials(
        access_key_id=draw(st.text(KEY_ALPHABET[:62], min_size=4, max_size=20)),
        secret_access_key=draw(keys),
        session_token=draw(st.none() | st.text(KEY_ALPHABET, min_size=1, max_size=900)),
    )


@given(
    host=hosts,
    port=st.sampled_from([443, 5432, 3306, 1, 65535]),
    user=users,
    region=st.sampled_from(REGIONS),
    signer=credentials(),
    fraction=st.floats(0, 0.999),
)
@settings(deadline=None)
def test_a_token_is_byte_identical_to_botocores(
    host: str, port: int, user: str, region: str, signer: Credentials, fraction: float
) -> None:
    """L1: for odd users, mixed-case hosts, port 443, any session token and partition."""
    endpoint = Endpoint(host=host, port=port, user=user, region=region)
    theirs, now = by_botocore(host.lower(), endpoint, signer)
    assert mint(endpoint, signer, now=now + fraction).password == theirs


def test_a_mixed_case_host_is_signed_as_botocore_signs_it() -> None:
    """L1: botocore writes the host as given but signs it in lower case; we write that."""
    endpoint = Endpoint(host="MyDB.Example.COM.", port=5432, user="app", region="eu-west-1")
    signer = Credentials(access_key_id="akid", secret_access_key="skid")
    theirs, now = by_botocore("MyDB.Example.COM", endpoint, signer)
    ours = mint(endpoint, signer, now=now).password
    assert ours.startswith("mydb.example.com:5432/?")
    assert ours.partition("X-Amz-Signature=")[2] == theirs.partition("X-Amz-Signature=")[2]


@given(now=st.floats(0, 4e9), lifetime=st.floats(2, 900), left=st.none() | st.floats(0, 1e5))
def test_a_token_ends_with_its_lifetime_or_its_keys(
    now: float, lifetime: float, left: float | None
) -> None:
    """L2: counted from the whole second that it carries, never past the signing keys."""
    end = None if left is None else now + left
    signer = Credentials(access_key_id="akid", secret_access_key="skid", expires_at=end)
    endpoint = Endpoint(host="db", port=5432, user="app", region="eu-west-1")
    token = mint(endpoint, signer, now=now, lifetime=lifetime)
    assert token.minted_at == math.floor(now)
    full = token.minted_at + lifetime
    assert token.expires_at == (full if end is None else min(full, end))
    assert "X-Amz-Expires=900&" in token.password


def test_minting_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """L1: botocore's DEBUG log is enough to put a token together; ours is empty."""
    with caplog.at_level(logging.DEBUG):
        mint(
            Endpoint(host="db", port=5432, user="app", region="eu-west-1"),
            Credentials(access_key_id="akid", secret_access_key="skid"),
            now=0.0,
        )
    assert caplog.records == []
