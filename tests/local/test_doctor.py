"""`rds-iam-async doctor`: in each fault the first cross is the true cause, with its fix.

Real faults, against a real PostgreSQL behind the gate, a local AWS and hostile servers.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from typer.testing import CliRunner

from rds_iam_async._cli import app
from rds_iam_async._loop_thread import LoopThread
from rds_iam_async.testing import LocalAws, LocalRds

from .hostile import HostileServer, server_context
from .test_cli import run, run_without

NAME = "mydb.abc123.eu-west-1.rds.amazonaws.com"
SIGNED = ("--token-host", NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one run of the doctor said, as JSON."""

    status: int
    document: dict[str, Any]

    @property
    def verdicts(self) -> dict[str, str]:
        return {check["name"]: check["verdict"] for check in self.document["checks"]}

    @property
    def first(self) -> dict[str, Any]:
        """The first cross."""
        crosses = [check for check in self.document["checks"] if check["verdict"] == "FAIL"]
        return crosses[0] if crosses else {"name": None}

    def found(self, name: str) -> str:
        (said,) = [check["said"] for check in self.document["checks"] if check["name"] == name]
        return str(said)


class Doctor:
    """Runs the command in this process, and looks for secrets in all that it says."""

    def __init__(self, rds: LocalRds, aws: LocalAws) -> None:
        self.rds = rds
        self.aws = aws
        self.provider = "static"
        # What it dials; the name that the server goes by, and its certificate, is another.
        self.url = f"postgresql+asyncpg://app@localhost:{rds.port}/app"

    def __call__(self, *arguments: str, url: str | None = None) -> Ran:
        with self.aws.installed(self.provider):
            return examined(url or self.url, *arguments, secrets=self.secrets)

    def shown(self, *arguments: str, url: str | None = None) -> str:
        """Return what a person sees instead."""
        with self.aws.installed(self.provider):
            ran = CliRunner().invoke(app, ["doctor", url or self.url, *arguments])
        assert_no_secret(ran.output, self.secrets)
        assert max(len(line) for line in ran.stdout.splitlines()) <= 80
        return ran.stdout

    @property
    def secrets(self) -> list[str]:
        keys = (*self.aws.issued, self.rds.credentials)
        return [text for one in keys for text in (one.secret_access_key, one.session_token) if text]


def examined(url: str, *arguments: str, secrets: list[str]) -> Ran:
    ran = CliRunner().invoke(app, ["doctor", url, *arguments, "--json"])
    assert ran.exit_code in (0, 1), ran.output
    assert_no_secret(ran.output, secrets)
    document = json.loads(ran.stdout)
    assert document["ok"] is (ran.exit_code == 0)
    return Ran(status=ran.exit_code, document=document)


def assert_no_secret(output: str, secrets: list[str]) -> None:
    assert "X-Amz-" not in output
    for secret in secrets:
        assert str(secret) not in output


@pytest.fixture(scope="module")
def running_named() -> Iterator[LocalRds]:
    with LocalRds(host=NAME) as rds:
        yield rds


@pytest.fixture
def named(running_named: LocalRds) -> Iterator[LocalRds]:
    """A local RDS with a name as RDS gives out; who dials it goes to localhost."""
    running_named.log.clear()
    yield running_named
    running_named.clear_faults()


@pytest.fixture
def doctor(named: LocalRds) -> Iterator[Doctor]:
    with LocalAws(named) as aws:
        yield Doctor(named, aws)


@contextmanager
def environment(**changes: str | None) -> Iterator[None]:
    """Change this process's environment; `None` takes a variable out."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes.items():
            if value is None:
                patch.delenv(name)
            else:
                patch.setenv(name, value)
        yield


@contextmanager
def hostile(tls: Any, *, protocol: str = "postgresql") -> Iterator[HostileServer]:
    thread = LoopThread("hostile")
    server = HostileServer(tls, protocol=protocol)
    running = server.running()
    thread.run(running.__aenter__())
    try:
        yield server
    finally:
        thread.run(running.__aexit__(None, None, None))
        thread.stop()


@contextmanager
def talking(*words: bytes) -> Iterator[int]:
    """Yield the port of a server that answers with one word after another, then hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for word in words:
            await reader.read(4096)
            writer.write(word)
        writer.close()

    async def serve() -> asyncio.Server:
        return await asyncio.start_server(talk, "127.0.0.1", 0)

    async def end(server: asyncio.Server) -> None:
        server.close()

    thread = LoopThread("talking")
    server = thread.run(serve())
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        thread.run(end(server))
        thread.stop()


class TestHealthy:
    """All ticks, exit status 0."""

    @pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg2"])
    def test_every_check_holds(self, doctor: Doctor, driver: str) -> None:
        """With the app's own driver, which logs in once."""
        ran = doctor(*SIGNED, url=doctor.url.replace("asyncpg", driver))
        assert ran.status == 0
        assert set(ran.verdicts.values()) == {"ok"}
        assert list(ran.verdicts) == [
            *("credentials", "lifetime", "clock", "identity", "region", "host", "address"),
            *("port", "CA file", "TLS", "certificate", "signed name", "iam user", "token"),
            *("login", "rds_iam", "policy"),
        ]
        assert ran.found("identity") == "arn:aws:iam::123456789012:user/app"
        assert "shared-credentials-file" in ran.found("credentials")
        assert ran.found("region") == "eu-west-1, by the host name"
        assert driver in ran.found("login")
        assert [login.outcome for login in doctor.rds.log].count("accepted") == 1

    def test_a_person_sees_a_tick_for_each(self, doctor: Doctor) -> None:
        """And the conclusion."""
        text = doctor.shown(*SIGNED)
        assert len(re.findall("^✓ ", text, re.MULTILINE)) == 17
        assert text.endswith("\nAll is well.\n")
        assert "✗" not in text

    @pytest.mark.parametrize("url", ["postgresql://", "postgres://"])
    def test_a_url_without_a_driver_is_asyncpgs(self, doctor: Doctor, url: str) -> None:
        ran = doctor(*SIGNED, url=doctor.url.replace("postgresql+asyncpg://", url))
        assert ran.status == 0
        assert "asyncpg" in ran.found("login")

    def test_the_url_of_the_plugin_is_understood(self, doctor: Doctor) -> None:
        """What an app has in DATABASE_URL can be pasted."""
        ran = doctor(url=f"{doctor.url}?plugin=rds_iam&rds_iam_token_host={NAME}")
        assert ran.status == 0

    def test_the_policy_is_there_to_paste(self, doctor: Doctor) -> None:
        (statement,) = doctor(*SIGNED).document["policy"]["Statement"]
        assert statement["Action"] == "rds-db:connect"
        assert statement["Resource"] == "arn:aws:rds-db:eu-west-1:123456789012:dbuser:*/app"

    @pytest.mark.parametrize("failure", ["refused", "500", "403"])
    def test_an_sts_that_cannot_be_asked_is_no_failure(self, doctor: Doctor, failure: Any) -> None:
        """Tokens need no STS, and a private subnet often has no way to it."""
        doctor.aws.failure = failure
        ran = doctor(*SIGNED)
        assert (ran.status, ran.verdicts["identity"]) == (0, "unknown")
        assert "tokens need no STS" in ran.found("identity")

    def test_keys_that_end_soon_are_told(self, doctor: Doctor) -> None:
        doctor.aws.lifetime = 600
        doctor.provider = "web-identity"
        ran = doctor(*SIGNED)
        assert ran.status == 0
        assert "tokens end with them" in ran.found("lifetime")


class TestCredentials:
    """AWS's side."""

    def test_no_credentials(self, doctor: Doctor) -> None:
        with (
            doctor.aws.installed("static"),
            environment(AWS_PROFILE=None, AWS_DEFAULT_PROFILE=None),
        ):
            ran = examined(doctor.url, *SIGNED, secrets=[])
        assert ran.status == 1
        assert ran.first["name"] == "credentials"
        assert "no credentials found" in ran.first["said"]
        assert "aws sts get-caller-identity" in ran.first["fix"]
        assert ran.verdicts["certificate"] == "ok"  # what needs no keys is looked at all the same
        assert ran.verdicts["token"] == ran.verdicts["login"] == "skipped"

    def test_a_profile_that_is_not_there(self, doctor: Doctor) -> None:
        ran = doctor(*SIGNED, "--profile", "prod")
        assert ran.first["name"] == "credentials"
        assert "prod" in ran.first["said"]
        assert "profile's name" in ran.first["fix"]

    def test_expired_credentials_whose_end_stands_nowhere(self, doctor: Doctor) -> None:
        """Session keys pasted into a file: only STS knows."""
        doctor.aws.lifetime = 0
        doctor.aws.write_static("static-session")
        doctor.provider = "static-session"
        ran = doctor(*SIGNED)
        assert ran.first["name"] == "identity"
        assert "has expired (STS: ExpiredToken)" in ran.first["said"]
        assert "aws sso login" in ran.first["fix"]
        assert ran.verdicts["login"] == "skipped"

    def test_expired_credentials_of_an_agent(self, doctor: Doctor) -> None:
        doctor.aws.lifetime = 0
        doctor.provider = "container"
        ran = doctor(*SIGNED)
        assert ran.first["name"] == "credentials"
        assert "expired" in ran.first["said"]
        assert ran.first["fix"].startswith("renew them")

    def test_an_agent_that_is_blocked(self, doctor: Doctor) -> None:
        """IMDS out of a container, say."""
        doctor.provider = "imds"
        doctor.aws.failure = "refused"
        ran = doctor(*SIGNED)
        assert ran.first["name"] == "credentials"
        assert "no credentials found" in ran.first["said"]

    def test_keys_that_aws_does_not_know(self, doctor: Doctor) -> None:
        with (
            doctor.aws.installed("static"),
            environment(
                AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE",
                AWS_SECRET_ACCESS_KEY="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                AWS_PROFILE=None,
                AWS_DEFAULT_PROFILE=None,
            ),
        ):
            ran = examined(doctor.url, *SIGNED, secrets=["wJalrXUtnFEMI"])
        assert ran.first["name"] == "identity"
        assert "InvalidClientTokenId" in ran.first["said"]

    def test_a_secret_key_of_another(self, doctor: Doctor) -> None:
        keys = doctor.rds.credentials
        with (
            doctor.aws.installed("static"),
            environment(
                AWS_ACCESS_KEY_ID=keys.access_key_id,
                AWS_SECRET_ACCESS_KEY=str(keys.secret_access_key)[:-1],
                AWS_PROFILE=None,
                AWS_DEFAULT_PROFILE=None,
            ),
        ):
            ran = examined(doctor.url, *SIGNED, secrets=[str(keys.secret_access_key)[:-1]])
        assert ran.first["name"] == "identity"
        assert "secret key does not belong" in ran.first["said"]

    @pytest.mark.parametrize(("skew", "side"), [(1200, "behind"), (-1200, "ahead of")])
    def test_a_clock_20_min_off(self, doctor: Doctor, skew: float, side: str) -> None:
        """STS calls that a wrong signature; its Date tells the truth."""
        doctor.rds.wall = lambda: time.time() + skew
        ran = doctor(*SIGNED)
        assert ran.first["name"] == "clock"
        assert f"clock is 20 min {side} AWS's" in ran.first["said"]
        assert "NTP" in ran.first["fix"]
        assert ran.verdicts["identity"] == "skipped"


class TestPlace:
    """Region and names."""

    def test_the_wrong_region(self, doctor: Doctor) -> None:
        ran = doctor(*SIGNED, "--region", "us-east-1")
        assert ran.first["name"] == "region"
        assert "us-east-1, as given, is wrong: the database is in eu-west-1" in ran.first["said"]
        assert ran.first["fix"] == "leave --region out, or pass --region eu-west-1"

    def test_the_wrong_region_where_no_name_says_one(self, rds: LocalRds, aws: LocalAws) -> None:
        """All that is left is to try: of the causes the region is the first."""
        with aws.installed("static"), environment(AWS_REGION="us-east-1"):
            ran = examined(rds.url, secrets=[])
        assert ran.first["name"] == "login"
        assert "PAM authentication failed" in ran.first["said"]
        assert "the region: no name confirms us-east-1, by AWS_REGION" in ran.first["said"]
        assert "--region" in ran.first["fix"]
        assert "signed for region 'us-east-1'" in [login.reason for login in rds.log][-1]

    def test_no_region(self, rds: LocalRds, aws: LocalAws) -> None:
        with aws.installed("static"), environment(AWS_REGION=None, AWS_DEFAULT_REGION=None):
            ran = examined(rds.url, secrets=[])
        assert ran.first["name"] == "region"
        assert "--region eu-west-1" in ran.first["fix"]

    def test_the_writer_of_a_global_database(self, doctor: Doctor) -> None:
        """Its name says no region, and the environment's would be a guess."""
        ran = doctor("--token-host", "w.global-abc123.global.rds.amazonaws.com")
        assert ran.first["name"] == "region"
        assert "Global Database" in ran.first["said"]

    def test_a_token_for_the_tunnels_name(self, doctor: Doctor) -> None:
        """The server's certificate knows how it is called."""
        ran = doctor()
        assert ran.first["name"] == "signed name"
        assert NAME in ran.first["said"]
        assert f"--token-host {NAME}" in ran.first["fix"]
        assert [login for login in doctor.rds.log if login.outcome == "denied"] == []

    def test_an_ip_address(self, doctor: Doctor) -> None:
        ran = doctor("--timeout", "0.2", url="postgresql://app@192.0.2.1/app")
        assert ran.first["name"] == "host"
        assert "--token-host" in ran.first["fix"]

    def test_an_unknown_host(self, doctor: Doctor) -> None:
        ran = doctor(url="postgresql://app@mydb.abc123.eu-west-1.rds.invalid/app")
        assert ran.first["name"] == "address"
        assert "has no address" in ran.first["said"]
        assert "spelling" in ran.first["fix"]
        assert ran.verdicts["port"] == "skipped"

    def test_a_closed_port(self, doctor: Doctor) -> None:
        doctor.rds.pause()
        ran = doctor(*SIGNED)
        assert ran.first["name"] == "port"
        assert "127.0.0.1: Connection refused" in ran.first["said"]
        assert "check the port" in ran.first["fix"]

    def test_an_address_to_which_there_is_no_route(self, doctor: Doctor) -> None:
        """Nobody connects to 255.255.255.255: tcp_v4_connect() has ENETUNREACH for it."""
        ran = doctor(*SIGNED, url="postgresql://app@255.255.255.255/app")
        assert ran.first["name"] == "port"
        assert "Network is unreachable" in ran.first["said"]
        assert "route table" in ran.first["fix"]


class TestServer:
    """TLS, and who speaks it."""

    def test_the_wrong_ca(self, doctor: Doctor, tmp_path: Path) -> None:
        other = tmp_path / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(other))
        ran = doctor(*SIGNED, "--ca-file", str(other))
        assert ran.first["name"] == "certificate"
        assert f"not in {other}, which alone is trusted" in ran.first["said"]
        assert "rds-iam-async ca-bundle --output global-bundle.pem" in ran.first["fix"]
        assert "RDS_IAM_CA_FILE" in ran.first["fix"]

    def test_no_ca_file(self, doctor: Doctor) -> None:
        with doctor.aws.installed("static"), environment(RDS_IAM_CA_FILE=None):
            ran = examined(doctor.url, *SIGNED, secrets=[])
        assert ran.first["name"] == "certificate"
        assert "no CA file is set" in ran.first["said"]

    def test_a_ca_file_that_is_not_there(self, doctor: Doctor) -> None:
        ran = doctor(*SIGNED, "--ca-file", "/nowhere.pem")
        assert ran.first["name"] == "CA file"
        assert "/nowhere.pem" in ran.first["said"]

    def test_the_wrong_host_name(self, doctor: Doctor) -> None:
        other = NAME.replace("mydb", "mydb2")
        ran = doctor("--token-host", other)
        assert ran.first["name"] == "certificate"
        assert f"the certificate is for {NAME}" in ran.first["said"]
        assert f"not for {other}" in ran.first["said"]
        assert NAME in ran.first["fix"]

    def test_an_alias_is_told_the_name_in_the_certificate(
        self, doctor: Doctor, tmp_path: Path
    ) -> None:
        """As with a real RDS, whose certificate has its own name only."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        with hostile(server_context(authority, NAME)) as server:
            url = f"postgresql://app@localhost:{server.port}/app"
            ran = doctor("--ca-file", str(tmp_path / "ca.pem"), url=url)
            assert server.received == b""
        assert ran.first["name"] == "certificate"
        assert f"--token-host {NAME}" in ran.first["fix"]

    def test_an_expired_certificate(self, doctor: Doctor, tmp_path: Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        context = server_context(authority, NAME)
        authority.issue_cert(
            NAME,
            not_before=datetime(2024, 1, 1, tzinfo=UTC),
            not_after=datetime(2025, 1, 1, tzinfo=UTC),
        ).configure_cert(context)
        with hostile(context) as server:
            url = f"postgresql://app@localhost:{server.port}/app"
            ran = doctor(*SIGNED, "--ca-file", str(tmp_path / "ca.pem"), url=url)
        assert ran.first["name"] == "certificate"
        assert "expired on 2025-01-01" in ran.first["said"]

    @pytest.mark.parametrize("protocol", ["postgresql", "mysql"])
    def test_a_server_without_tls(self, doctor: Doctor, protocol: str) -> None:
        with hostile(None, protocol=protocol) as server:
            url = f"{protocol}://app@localhost:{server.port}/app"
            ran = doctor(*SIGNED, url=url)
            assert server.received == b""
        assert ran.first["name"] == "TLS"
        assert "offers no TLS, so it is sent no token" in ran.first["said"]
        assert ran.verdicts["iam user"] == ran.verdicts["login"] == "skipped"

    def test_a_web_server(self, doctor: Doctor) -> None:
        """Or whatever else listens where a database should."""
        with doctor.aws.installed("static"):
            port = os.environ["AWS_ENDPOINT_URL_STS"].rpartition(":")[2]
        ran = doctor(*SIGNED, "--timeout", "1", url=f"postgresql://app@localhost:{port}/app")
        assert ran.first["name"] == "TLS"

    def test_the_other_kind_of_database(self, doctor: Doctor) -> None:
        """A MySQL where PostgreSQL was said."""
        with hostile(None, protocol="mysql") as server:
            ran = doctor(*SIGNED, url=f"postgresql://app@localhost:{server.port}/app")
        assert ran.first["name"] == "TLS"
        assert "does not speak PostgreSQL: it says" in ran.first["said"]
        assert "5432" in ran.first["fix"]

    def test_a_server_that_says_nothing(self, doctor: Doctor) -> None:
        """A load balancer without a target, say."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"postgresql://app@localhost:{listener.getsockname()[1]}/app"
            ran = doctor(*SIGNED, "--timeout", "1", url=url)
        assert ran.first["name"] == "TLS"
        assert "nothing more within 1 s" in ran.first["said"]

    def test_a_tunnel_whose_far_end_is_dead(self, doctor: Doctor) -> None:
        """`ssh -L` and its like accept, and hang up as soon as they find out."""
        with talking(b"") as port:
            ran = doctor(*SIGNED, url=f"postgresql://app@localhost:{port}/app")
        assert ran.first["name"] == "TLS"
        assert "then does not shake hands: the server hung up" in ran.first["said"]
        assert "a tunnel whose far end does not reach the database" in ran.first["fix"]

    def test_an_ssh_server(self, doctor: Doctor) -> None:
        """Its first letter is PostgreSQL's yes."""
        with talking(b"SSH-2.0-OpenSSH_9.9\r\n", b"") as port:
            ran = doctor(*SIGNED, url=f"postgresql://app@localhost:{port}/app")
        assert ran.first["name"] == "TLS"
        assert "does not speak PostgreSQL" in ran.first["said"]

    def test_a_server_of_old_tls(self, doctor: Doctor) -> None:
        """It answers with the alert protocol_version: RFC 8446, 6."""
        with talking(b"S", bytes([21, 3, 1, 0, 2, 2, 70])) as port:
            ran = doctor(*SIGNED, url=f"postgresql://app@localhost:{port}/app")
        assert ran.first["name"] == "TLS"
        assert "speaks no TLS that is new enough" in ran.first["said"]
        assert "ssl_max_protocol_version" in ran.first["fix"]


class TestUser:
    """The database's side."""

    def test_the_wrong_case(self, doctor: Doctor) -> None:
        ran = doctor(*SIGNED, url=doctor.url.replace("//app@", "//App@"))
        assert ran.first["name"] == "iam user"
        assert "'App' is no IAM user, but 'app' is" in ran.first["said"]
        assert "write app in the URL" in ran.first["fix"]

    def test_a_missing_grant(self, doctor: Doctor) -> None:
        """PostgreSQL asks such a role for a proof of its password: that is told apart."""
        doctor.rds.create_user("reports", password="static")
        ran = doctor(*SIGNED, url=doctor.url.replace("//app@", "//reports@"))
        assert ran.first["name"] == "iam user"
        assert "not granted rds_iam" in ran.first["said"]
        assert 'GRANT rds_iam TO "reports";' in ran.first["fix"]
        assert [login for login in doctor.rds.log if login.outcome == "denied"] == []

    def test_a_missing_policy(self, doctor: Doctor) -> None:
        """All else being good, it is the likeliest; the rest follows, and what to paste."""
        keys = doctor.aws.write_static()
        doctor.rds.trust(keys, users=["somebody-else"])
        ran = doctor(*SIGNED, "--token-port", str(doctor.rds.port))
        assert ran.first["name"] == "login"
        assert 'PAM authentication failed for user "app"' in ran.first["said"]
        arn = "arn:aws:iam::123456789012:user/app"
        assert f"Likeliest is the policy: {arn} is not allowed" in ran.first["said"]
        assert [cause["what"].partition(":")[0] for cause in ran.first["causes"]][:3] == [
            "the policy",
            "the resource",
            "a deny",
        ]

    def test_a_person_sees_the_fix_below_the_cross_and_the_policy_at_the_end(
        self, doctor: Doctor
    ) -> None:
        """The rest of the causes with their fixes, in order."""
        doctor.rds.trust(doctor.aws.write_static(), users=["somebody-else"])
        text = doctor.shown(*SIGNED)
        lines = text.splitlines()
        (cross,) = [n for n, line in enumerate(lines) if line.startswith("✗ ")]
        below = " ".join(line.strip() for line in lines[cross:])
        assert re.search(r"Likeliest is the port: .*?→ pass --token-port 5432 .*? What else", below)
        assert re.search(r" 2\. the policy: .*? → .*? 3\. the resource: .*? → ", below)
        assert "- rds_iam      not reached: needs login" in lines
        assert "Failed: login." in lines
        assert '"Resource": "arn:aws:rds-db:eu-west-1:123456789012:dbuser:*/app"' in text

    def test_a_session_that_sts_could_not_vouch_for(self, doctor: Doctor) -> None:
        """Then its end is likelier than a missing policy."""
        doctor.provider = "static-session"
        doctor.aws.lifetime = 0
        doctor.aws.write_static("static-session")
        doctor.aws.failure = "refused"
        ran = doctor(*SIGNED)
        assert ran.first["name"] == "login"
        assert "the credentials: STS could not say" in ran.first["said"]

    @pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
    def test_libpq_tells_no_sqlstate_and_is_understood(self, doctor: Doctor, driver: str) -> None:
        """By the server's own words."""
        url = doctor.url.replace("asyncpg", driver)
        assert doctor(*SIGNED, url=f"{url}2").first["causes"] == []
        doctor.rds.refuse(9)
        ran = doctor(*SIGNED, url=url)
        assert ran.first["said"].startswith('PAM authentication failed for user "app": the server')
        assert ran.first["causes"]

    def test_a_database_that_is_not_there(self, doctor: Doctor) -> None:
        ran = doctor(*SIGNED, url=f"{doctor.url}2")
        assert ran.first["name"] == "login"
        assert 'database "app2" does not exist (3D000)' in ran.first["said"]
        assert "the token was accepted" in ran.first["fix"]
        assert ran.first["causes"] == []

    def test_a_user_that_may_not_log_in(self, doctor: Doctor) -> None:
        """PostgreSQL says so once it has accepted the token."""
        doctor.rds.create_user("retired")
        doctor.rds.execute("ALTER ROLE retired NOLOGIN")
        url = f"postgresql+psycopg://retired@localhost:{doctor.rds.port}/app"
        ran = doctor(*SIGNED, url=url)
        assert ran.first["name"] == "login"
        assert 'role "retired" is not permitted to log in' in ran.first["said"]
        assert 'ALTER ROLE "retired" LOGIN;' in ran.first["fix"]
        assert ran.first["causes"] == []

    def test_a_database_that_takes_no_connections(self, doctor: Doctor) -> None:
        """As a database that is being moved or dropped."""
        doctor.rds.execute("CREATE DATABASE shut ALLOW_CONNECTIONS false")
        ran = doctor(*SIGNED, url=f"postgresql+psycopg://app@localhost:{doctor.rds.port}/shut")
        assert ran.first["name"] == "login"
        assert "the token was accepted" in ran.first["fix"]
        assert "allow connections to 'shut'" in ran.first["fix"]

    @pytest.mark.parametrize("driver", ["asyncpg", "psycopg", "psycopg2"])
    def test_an_argument_in_the_url_that_the_driver_does_not_know(
        self, doctor: Doctor, driver: str
    ) -> None:
        """The database's log, which knows nothing of it, is not the place to look."""
        ran = doctor(*SIGNED, url=f"{doctor.url.replace('asyncpg', driver)}?pool_sise=5")
        assert ran.first["name"] == "login"
        assert "pool_sise" in ran.first["said"]
        assert ran.first["fix"].startswith("take it out of the URL")

    def test_too_many_connections(self, doctor: Doctor) -> None:
        doctor.rds.execute("ALTER ROLE app CONNECTION LIMIT 0")
        try:
            ran = doctor(*SIGNED)
        finally:
            doctor.rds.execute("ALTER ROLE app CONNECTION LIMIT -1")
        assert ran.first["name"] == "login"
        assert "53300" in ran.first["said"]
        assert "max_connections" in ran.first["fix"]


class TestMariaDb:
    """The same of MySQL's protocol."""

    def doctor(self, mariadb: LocalRds) -> Callable[..., Ran]:
        def ask(*arguments: str, url: str = mariadb.url) -> Ran:
            with LocalAws(mariadb) as aws, aws.installed("static"):
                return examined(url, *arguments, secrets=[])

        return ask

    @pytest.mark.parametrize("driver", ["asyncmy", "aiomysql", "pymysql"])
    def test_every_check_holds(self, mariadb: LocalRds, driver: str) -> None:
        ran = self.doctor(mariadb)(url=mariadb.url.replace("asyncmy", driver))
        assert set(ran.verdicts.values()) == {"ok"}
        assert driver in ran.found("login")

    def test_a_user_with_a_password(self, mariadb: LocalRds) -> None:
        mariadb.create_user("reports", password="static")
        ran = self.doctor(mariadb)(url=mariadb.url.replace("//app@", "//reports@"))
        assert ran.first["name"] == "iam user"
        assert "AWSAuthenticationPlugin" in ran.first["fix"]

    def test_the_wrong_case(self, mariadb: LocalRds) -> None:
        ran = self.doctor(mariadb)(url=mariadb.url.replace("//app@", "//APP@"))
        assert ran.first["name"] == "iam user"
        assert "but 'app' is" in ran.first["said"]

    def test_a_missing_policy(self, mariadb: LocalRds) -> None:
        """1045 says no more than PAM does."""
        mariadb.refuse(8)
        ran = self.doctor(mariadb)("--region", "eu-west-1")
        assert ran.first["name"] == "login"
        assert "1045" in ran.first["said"]
        assert "the policy" in [cause["what"].partition(":")[0] for cause in ran.first["causes"]]

    def test_a_database_that_is_not_there(self, mariadb: LocalRds) -> None:
        ran = self.doctor(mariadb)(url=f"{mariadb.url}2")
        assert ran.first["name"] == "login"
        assert ran.first["causes"] == []


class TestCall:
    """The command itself."""

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("postgresql://app:hunter2@localhost/app", "the URL has a password"),
            ("postgresql://app@/app", "the URL has no host"),
            ("postgresql+pg8000://app@localhost/app", "pg8000"),
            ("postgresql+asyncpq://app@localhost/app", "use one of postgresql+asyncpg://"),
            ("postgressql://app@localhost/app", "the driver 'postgressql' is not supported"),
            ("not a URL", "the URL cannot be parsed"),
            ("postgresql://app:hunter2/app", "the URL cannot be parsed"),
            ("postgresql://app@localhost:99999/app", "port 99999 is not from 1 to 65535"),
            ("postgresql://app@localhost/app?sslmode=require", "sslmode='require'"),
            ("postgresql://app@localhost/app?rds_iam_regoin=x", "rds_iam_regoin"),
        ],
    )
    def test_a_wrong_call_is_exit_status_2(self, url: str, said: str) -> None:
        """Before anything is asked of anybody, and with no password repeated."""
        ran = CliRunner().invoke(app, ["doctor", url])
        assert (ran.exit_code, ran.stdout) == (2, "")
        assert said in ran.stderr
        assert "hunter2" not in ran.output

    def test_a_driver_that_is_not_installed_is_named_with_its_extra(self) -> None:
        """Its name is not always the extra's."""
        ran = run_without("aiomysql", "doctor", "mysql+aiomysql://app@localhost/app")
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "aiomysql is not installed" in ran.stderr
        assert "pip install 'rds-iam-async[mysql]'" in ran.stderr

    @pytest.mark.timeout(60)
    def test_a_driver_that_cannot_be_imported_is_exit_status_2(self) -> None:
        """psycopg without libpq, which is no missing module."""
        ran = run("doctor", "postgresql+psycopg://app@localhost/app", PSYCOPG_IMPL="none")
        assert (ran.returncode, ran.stdout) == (2, "")
        said, hint = ran.stderr.splitlines()
        assert "the URL's driver cannot be imported: " in said
        assert "psycopg[binary]" in hint

    @pytest.mark.timeout(60)
    def test_no_secret_in_the_log_of_all_steps(self, doctor: Doctor) -> None:
        """-v, with the SDK, asyncio and SQLAlchemy at DEBUG: L4, L9."""
        doctor.provider = "web-identity"
        with doctor.aws.installed(doctor.provider):
            ran = run(
                *("doctor", "-v", doctor.url, *SIGNED), PYTHONASYNCIODEBUG="1", PYTHONDEBUG="1"
            )
        assert ran.returncode == 0, ran.stderr
        assert "rds_iam_async" in ran.stderr  # there is a log to look at
        assert "X-Amz-" not in ran.stdout + ran.stderr
        for secret in doctor.secrets:
            assert str(secret) not in ran.stdout + ran.stderr

    @pytest.mark.timeout(60)
    def test_an_sso_login_that_has_expired(self, doctor: Doctor) -> None:
        """In a process of its own: the SDK reads HOME when it is imported."""
        doctor.aws.log_out()
        inherited = {n: v for n, v in os.environ.items() if not n.startswith("AWS_")}
        with pytest.MonkeyPatch.context() as patch:
            for name in set(os.environ) - set(inherited):
                patch.delenv(name)
            ran = run("doctor", "--json", doctor.url, *SIGNED, **doctor.aws.environment("sso"))
        checks = json.loads(ran.stdout)["checks"]
        first = next(check for check in checks if check["verdict"] == "FAIL")
        assert (ran.returncode, first["name"]) == (1, "credentials")
        assert "aws sso login" in first["fix"]

    def test_a_terminal_without_unicode_gets_words(self, doctor: Doctor) -> None:
        with doctor.aws.installed("static"):
            ran = CliRunner(charset="ascii").invoke(
                app, ["doctor", doctor.url, *SIGNED, "--region", "us-east-1"]
            )
        assert ran.exit_code == 1, ran.output
        assert re.search(r"^FAIL region ", ran.stdout, re.MULTILINE)
