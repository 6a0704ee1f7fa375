"""The local AWS is believed by AWS's own SDK, and fails it in every way that AWS can."""

from __future__ import annotations

import contextlib
import gc
import http.client
import itertools
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import aioboto3
import asyncpg
import botocore.session
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from sqlalchemy.ext.asyncio import AsyncEngine

from rds_iam_async import (
    ConfigurationError,
    Credentials,
    CredentialsError,
    RefreshPolicy,
    TokenRefresher,
)
from rds_iam_async._credentials import SessionCredentials
from rds_iam_async.testing import LocalAws, LocalRds

from .chain_user import SSO, ChainUser
from .conftest import Client
from .workload import one_connect

pytestmark = pytest.mark.anyio

METHODS = {
    "container": "container-role",
    "pod-identity": "container-role",
    "imds": "iam-role",
    "assume-role": "assume-role",
    "web-identity": "assume-role-with-web-identity",
    "sso": "sso",
    "sso-session": "sso",
    "process": "custom-process",
    "static": "shared-credentials-file",
    "static-session": "shared-credentials-file",
}
HERE = [provider for provider in LocalAws.PROVIDERS if provider not in SSO]
ASKED = [provider for provider in HERE if not provider.startswith("static")]
FAILING = ["container", "imds", "web-identity", "process"]
FAILURES = ["500", "403", "refused", "hang", "garbage", "truncated"]


def end_of(aws: LocalAws, access_key_id: str) -> float | None:
    (keys,) = [keys for keys in aws.issued if keys.access_key_id == access_key_id]
    return keys.expires_at


@pytest.mark.parametrize("provider", HERE)
async def test_the_ordinary_chain_gets_keys_that_log_in(
    provider: str, aws: LocalAws, client: Client
) -> None:
    """Nothing but environment and files tells AWS's SDK where it is."""
    with aws.installed(provider):
        chain = await aioboto3.Session().get_credentials()
        frozen = await chain.get_frozen_credentials()
    key = Credentials(
        access_key_id=frozen.access_key,
        secret_access_key=frozen.secret_key,
        session_token=frozen.token,
    )
    assert chain.method == METHODS[provider]
    assert await client.ask("select current_user", password=client.token(key=key)) == "app"
    (login,) = client.logins()
    assert login.access_key_id in [keys.access_key_id for keys in aws.issued]


@pytest.mark.parametrize("provider", HERE)
async def test_a_refresher_gets_the_keys_and_knows_their_end(
    provider: str, aws: LocalAws, fresh_connects: AsyncEngine
) -> None:
    """L2 stands on the end, to the second; where a file does not tell it, there is none."""
    with aws.installed(provider):
        async with TokenRefresher(fresh_connects) as refresher:
            await one_connect(fresh_connects)
            (state,) = refresher.status().endpoints
    assert state.provider == METHODS[provider]
    assert state.access_key_id is not None
    end = end_of(aws, state.access_key_id)
    if provider.startswith("static"):
        assert state.credentials_expire_at is None
    else:
        assert end is not None
        assert state.credentials_expire_at is not None
        assert end - 1 <= state.credentials_expire_at <= end
    assert aws.calls.count(provider) == (provider in ASKED)


async def test_sso_does_both_in_a_process_of_its_own(aws: LocalAws, rds: LocalRds) -> None:
    """The token of an SSO session has run out and is renewed first; a legacy one is good."""
    with ChainUser(rds, aws) as user:
        for provider in SSO:
            assert user.ask("sdk", provider)["provider"] == "sso"
            state = user.ask("connect", provider)
            assert state["provider"] == "sso"
            end = end_of(aws, state["access_key_id"])
            assert end is not None
            assert end - 1 <= state["credentials_expire_at"] <= end
            assert aws.calls.count(provider) == 2
    # What the SDK renewed it wrote to the cache, so that we had no need to.
    assert aws.calls.count("sso-token") == 1


@pytest.mark.parametrize(
    ("provider", "failure"),
    # aiobotocore leaves a process that hangs running, with its pipes open.
    [case for case in itertools.product(FAILING, FAILURES) if case != ("process", "hang")],
)
async def test_each_failure_is_an_error_in_time_and_tells_no_secret(
    provider: str, failure: Any, aws: LocalAws, fresh_connects: AsyncEngine
) -> None:
    """L17: whatever AWS does, who starts without keys hears of it within `wait`."""
    aws.failure = failure
    wait = 5.0 if provider == "process" else 0.25  # which fails at once, or see above
    with aws.installed(provider):
        refresher = TokenRefresher(fresh_connects, policy=RefreshPolicy(wait=wait))
        began = time.monotonic()
        with pytest.raises(CredentialsError) as caught:
            await refresher.start()
        took = time.monotonic() - began
    await refresher.aclose()
    # A cancelled thread is given a second to end, and a busy machine some more: an agent that
    # hangs would be waited for for 8 s by the SDK, STS for minutes.
    assert took < wait + 6
    check_secrets(aws, f"{caught.value} {caught.value.hint} {caught.value.__cause__!r}")


async def test_a_container_answer_cut_short_shows_no_keys(aws: LocalAws) -> None:
    """As above, without a bound: the SDK asks three times, a second apart, before it gives up."""
    aws.failure = "truncated"
    with aws.installed("container"), pytest.raises(CredentialsError) as caught:
        await SessionCredentials().snapshot()
    assert aws.calls.count("container") == len(aws.issued) - 2 == 3
    check_secrets(aws, f"{caught.value} {caught.value.hint} {caught.value.__cause__!r}")


async def test_each_failure_of_sso_is_an_error_in_time_and_tells_no_secret(
    aws: LocalAws, rds: LocalRds
) -> None:
    """As above, in the process that SSO needs."""
    with ChainUser(rds, aws) as user:
        for failure in FAILURES:
            aws.failure = failure  # type: ignore[assignment]
            check_secrets(aws, user.ask("start", "sso-session", "0.25")["error"])
        aws.failure = None
        assert user.ask("connect", "sso-session")["ready"]


def check_secrets(aws: LocalAws, text: str) -> None:
    for keys in aws.issued:
        assert keys.secret_access_key not in text
        assert (keys.session_token or keys.secret_access_key) not in text


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


def test_our_sts_looks_to_botocore_as_motos_does(aws: LocalAws, moto: str) -> None:
    """An independent reading of AWS's protocol: same members, same types, same names."""
    environment = aws.environment("assume-role")
    keys = (Path(environment["AWS_SHARED_CREDENTIALS_FILE"])).read_text().split("\n")
    token = Path(aws.environment("web-identity")["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text()
    role = {"RoleArn": "arn:aws:iam::123456789012:role/app", "RoleSessionName": "local"}
    shapes = []
    for url in (environment["AWS_ENDPOINT_URL_STS"], moto):
        sts = botocore.session.get_session().create_client(
            "sts",
            region_name="eu-west-1",
            endpoint_url=url,
            aws_access_key_id=keys[1].split()[-1],
            aws_secret_access_key=keys[2].split()[-1],
        )
        with contextlib.closing(sts):
            assumed = sts.assume_role(**role)
            identified = sts.assume_role_with_web_identity(**role, WebIdentityToken=token)
        arns = [answer["AssumedRoleUser"]["Arn"] for answer in (assumed, identified)]
        shapes.append((shape(assumed), common(shape(identified)), arns))
    assert shapes[0] == shapes[1]


def shape(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        name: shape(value) if isinstance(value, dict) else type(value)
        for name, value in answer.items()
        if name not in ("ResponseMetadata", "PackedPolicySize")
    }


def common(shape: dict[str, Any]) -> dict[str, Any]:
    return {name: shape[name] for name in ("Credentials", "AssumedRoleUser")}


def status_of(url: str, **how: Any) -> int:
    """Ask as a script would, and return how HTTP calls the answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **how)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def form(**fields: str) -> bytes:
    return urlencode(fields).encode()


@pytest.mark.parametrize(
    ("path", "how", "status"),
    [
        ("/v2/credentials/0f9f0bb4-local", {"headers": {"Authorization": "guessed"}}, 401),
        ("/v1/credentials", {}, 401),
        ("/latest/api/token", {"method": "PUT"}, 400),
        ("/latest/meta-data/iam/security-credentials/", {}, 401),
        ("/latest/meta-data/iam/security-credentials/app", {}, 401),
        ("/latest/meta-data/ami-id", {}, 404),
        ("/", {"data": form(Action="AssumeRole", RoleArn="r", RoleSessionName="s")}, 403),
        ("/", {"data": form(Action="AssumeRoleWithWebIdentity", WebIdentityToken="t")}, 400),
        ("/", {"data": form(Action="Nothing")}, 400),
        ("/federation/credentials?role_name=app&account_id=1", {}, 401),
        ("/token", {"data": b'{"clientId": "c"}'}, 401),
    ],
)
def test_who_shows_no_pass_is_given_no_keys(
    path: str, how: dict[str, Any], status: int, aws: LocalAws
) -> None:
    """Each door checks what AWS's checks: a chain that works here works there."""
    before = aws.issued
    url = aws.environment("imds")["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
    assert status_of(url + path, **how) == status
    assert aws.issued == before
    assert len(aws.calls) == 1


def fetch(aws: LocalAws) -> None:
    """Ask the ECS agent once, blocking."""
    environment = aws.environment("container")
    token = {"Authorization": environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"]}
    assert status_of(environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers=token) == 200


def test_without_rotation_the_same_keys_are_served_until_half_their_life() -> None:
    """As agents do; whoever asks again early has gained nothing."""
    with LocalAws(lifetime=3600) as aws:
        aws.rotation = False
        fetch(aws)
        fetch(aws)
        first = aws.issued[-1]
        assert len(aws.issued) == 3  # two of them in the credentials file
        aws.lifetime = 0
        aws.revoke()
        fetch(aws)
        fetch(aws)
        assert len({keys.access_key_id for keys in aws.issued}) == 5
        assert aws.issued[-1] != first


def test_a_delay_is_waited_for_before_each_answer() -> None:
    """A slow endpoint is slow for everybody."""
    with LocalAws() as aws:
        aws.delay = 0.2
        began = time.monotonic()
        fetch(aws)
        assert time.monotonic() - began >= 0.2


async def test_revoked_keys_sign_nothing_any_more(aws: LocalAws, client: Client) -> None:
    """Role sessions end early; a user's long-term keys are no session."""
    session, long_term = aws.write_static("static-session"), aws.write_static()
    await client.ask("select 1", password=client.token(key=session))
    aws.revoke()
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await client.ask("select 1", password=client.token(key=session))
    await client.ask("select 1", password=client.token(key=long_term))


def test_keys_end_by_awss_clock(aws: LocalAws, rds: LocalRds) -> None:
    """Which is the local RDS's: by that it judges the keys."""
    rds.wall = lambda: 2e9 + 0.5
    aws.lifetime = 600
    fetch(aws)
    assert aws.issued[-1].expires_at == 2e9 + 600
    assert aws.write_static("static-session").expires_at == 2e9 + 600


async def test_keys_end_when_they_were_said_to(aws: LocalAws, client: Client) -> None:
    """The local RDS knows the end of each pair, whether or not the SDK does."""
    aws.lifetime = 0
    ended = aws.write_static("static-session")
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await client.ask("select 1", password=client.token(key=ended))
    (login,) = client.logins()
    assert "expired" in login.reason


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def descriptors() -> set[str]:
    gc.collect()
    return set(os.listdir("/dev/fd"))


@pytest.mark.parametrize("failure", [None, "refused", "hang"])
def test_it_leaves_nothing_behind(
    failure: Literal["refused", "hang"] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads, descriptors and files are as before, also when somebody was still waiting."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    threads_before, descriptors_before = threads(), descriptors()
    with LocalAws() as aws:
        fetch(aws)
        assert list(tmp_path.iterdir())
        aws.failure = failure
        asker = threading.Thread(target=fail_to_fetch, args=[aws])
        if failure is not None:
            asker.start()
            await_call(aws, 2 if failure == "hang" else 1)
    if failure is not None:
        asker.join()
    # There may be fewer: others' were closed meanwhile.
    assert (threads() - threads_before, descriptors() - descriptors_before) == (set(), set())
    assert list(tmp_path.iterdir()) == []


def fail_to_fetch(aws: LocalAws) -> None:
    with pytest.raises((urllib.error.URLError, http.client.RemoteDisconnected)):
        fetch(aws)


def await_call(aws: LocalAws, count: int) -> None:
    while len(aws.calls) < count:
        time.sleep(0.001)  # no event says it; the test's own timeout bounds it


def test_it_starts_again_on_the_same_port_and_several_do_not_mix() -> None:
    """An application that was given the address can go on with it."""
    with LocalAws() as one, LocalAws() as other:
        fetch(one)
        assert (len(one.calls), len(other.calls)) == (1, 0)
        address = one.environment("imds")["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
        one.stop()
        one.stop()
        one.failure = "refused"
        one.start()
        one.start()
        assert one.environment("imds")["AWS_EC2_METADATA_SERVICE_ENDPOINT"] == address
        with pytest.raises(urllib.error.URLError, match="refused"):
            fetch(one)
        one.failure = None
        fetch(one)
        assert "running" in repr(one)
    assert "stopped" in repr(one)


def test_installed_leaves_the_environment_as_it_was(
    aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside, no AWS variable of the developer's own is left to win."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFTHEDEVELOPER")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/codebuild")
    monkeypatch.setenv("NO_PROXY", "internal")
    before = dict(os.environ)
    for provider in aws.PROVIDERS:
        with aws.installed(provider):
            wanted = aws.environment(provider)
            assert {name for name in os.environ if name.startswith("AWS_")} <= set(wanted)
            assert os.environ["NO_PROXY"].startswith("internal,")
        assert dict(os.environ) == before


@pytest.mark.parametrize(
    "mistake",
    [
        lambda aws: aws.environment("heroku"),
        lambda aws: aws.write_static("sso"),
        lambda aws: setattr(aws, "failure", "418"),
        lambda aws: setattr(aws, "lifetime", -1),
        lambda aws: setattr(aws, "delay", "long"),
        lambda aws: LocalAws(lifetime=float("nan")),
        lambda aws: LocalAws().environment("imds"),
        lambda aws: LocalAws().log_in(),
    ],
)
def test_a_mistake_is_said_plainly(mistake: Callable[[LocalAws], Any], aws: LocalAws) -> None:
    """No lever takes a value that it would silently ignore."""
    with pytest.raises(ConfigurationError):
        mistake(aws)


class TestCallerIdentity:
    """STS says who signed, as AWS's own SDK signs it, and judges that as AWS does."""

    def client(self, aws: LocalAws, key: Credentials) -> Any:
        return botocore.session.Session().create_client(
            "sts",
            region_name="eu-west-1",
            endpoint_url=aws.environment("static")["AWS_ENDPOINT_URL_STS"],
            aws_access_key_id=key.access_key_id,
            aws_secret_access_key=str(key.secret_access_key),
            aws_session_token=key.session_token and str(key.session_token),
        )

    def refusal(self, aws: LocalAws, key: Credentials) -> str:
        with pytest.raises(ClientError) as caught:
            self.client(aws, key).get_caller_identity()
        return str(caught.value.response["Error"]["Code"])

    @pytest.mark.parametrize(
        ("provider", "arn"),
        [
            ("static", "arn:aws:iam::123456789012:user/app"),
            ("static-session", "arn:aws:sts::123456789012:assumed-role/app/local"),
        ],
    )
    async def test_who_signed(self, aws: LocalAws, provider: str, arn: str) -> None:
        answer = self.client(aws, aws.write_static(provider)).get_caller_identity()
        assert (answer["Arn"], answer["Account"]) == (arn, "123456789012")
        assert aws.calls.count("caller-identity") == 1

    async def test_wrong_keys(self, aws: LocalAws) -> None:
        key = aws.write_static()
        assert self.refusal(aws, replace(key, access_key_id="AKIA0")) == "InvalidClientTokenId"
        assert self.refusal(aws, replace(key, session_token="s")) == "InvalidClientTokenId"
        assert self.refusal(aws, replace(key, secret_access_key="s")) == "SignatureDoesNotMatch"

    async def test_keys_that_have_ended(self, aws: LocalAws) -> None:
        aws.lifetime = 0
        assert self.refusal(aws, aws.write_static("static-session")) == "ExpiredToken"

    @pytest.mark.parametrize(("skew", "good"), [(290, True), (310, False), (-310, False)])
    async def test_a_clock_that_is_off_by_more_than_five_minutes(
        self, aws: LocalAws, rds: LocalRds, skew: float, good: bool
    ) -> None:
        """The Date of the answer is by AWS's clock, whatever the answer is."""
        rds.wall = lambda: time.time() + skew
        key = aws.write_static()
        if good:
            answer = self.client(aws, key).get_caller_identity()
            date = answer["ResponseMetadata"]["HTTPHeaders"]["date"]
            assert abs(parsedate_to_datetime(date).timestamp() - time.time() - skew) < 5
        else:
            assert self.refusal(aws, key) == "SignatureDoesNotMatch"
