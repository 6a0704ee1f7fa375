"""What the doctor makes of facts that no loopback can give: DNS aliases, firewalls, old roots."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from rich.console import Console

from rds_iam_async import Credentials
from rds_iam_async._doctor import Finding, Subject, shown, subject_of
from rds_iam_async._doctor import _certificate as certificate
from rds_iam_async._doctor import _keys as keys
from rds_iam_async._doctor import _login as login
from rds_iam_async._doctor import _network as network
from rds_iam_async._doctor import _place as place
from rds_iam_async._doctor import _refusal as refusal
from rds_iam_async._doctor import _user as user
from rds_iam_async._doctor._aws import Caller, Keys
from rds_iam_async._doctor._knock import Reply
from rds_iam_async._doctor._look import Certificate, Look
from rds_iam_async._doctor._policy import policy
from rds_iam_async._endpoint import BY_HOST, FoundRegion

HOST = "mydb.abc123.eu-west-1.rds.amazonaws.com"
NOW = 1_800_000_000.0


def subject(url: str = f"postgresql://app@{HOST}/app", **options: object) -> Subject:
    given: dict[str, object] = dict.fromkeys(
        ("region", "token_host", "token_port", "profile", "ca_file")
    )
    return subject_of(url, **(given | {"timeout": 5.0} | options))  # type: ignore[arg-type]


def role_session(expires_at: float | None = None) -> Keys:
    return Keys(
        credentials=Credentials(
            access_key_id="ASIA",
            secret_access_key="secret",
            session_token="token",
            expires_at=expires_at,
        ),
        provider="assume-role",
    )


class TestNetwork:
    def test_an_alias_of_an_rds_name_is_told_that_name(self) -> None:
        """A CNAME's own name is refused by RDS, as the resolver can tell."""
        found = network.address(
            subject("postgresql://app@db.example.com/app"),
            network.Resolved(addresses=("10.0.0.1",), canonical=HOST),
        )
        assert found.verdict == "FAIL"
        assert f"db.example.com is an alias of {HOST}" in found.said
        assert f"--token-host {HOST}" in str(found.fix)

    @pytest.mark.parametrize(
        ("url", "canonical"),
        [
            (f"postgresql://app@{HOST}/app", f"other.{HOST.partition('.')[2]}"),
            (f"postgresql://app@{HOST}/app", "ec2-1-2-3-4.eu-west-1.compute.amazonaws.com"),
            ("postgresql://app@db.example.com/app", "db.example.com"),
        ],
    )
    def test_an_rds_name_may_itself_be_an_alias(self, url: str, canonical: str) -> None:
        """A cluster's endpoint is one of an instance's."""
        resolved = network.Resolved(addresses=("10.0.0.1",), canonical=canonical)
        assert network.address(subject(url), resolved).verdict == "ok"

    def test_ipv6_that_leads_nowhere_is_told_though_ipv4_answers(self) -> None:
        answers = (
            network.Answer(address="2001:db8::1", error="Network is unreachable"),
            network.Answer(address="10.0.0.1", error=None),
        )
        found = network.port(subject(), answers)
        assert found.verdict == "ok"
        assert "2001:db8::1: Network is unreachable, which drivers may try first" in found.said

    @pytest.mark.parametrize(
        ("address", "fix"), [("2001:db8::1", "give this machine IPv6"), ("10.0.0.1", "VPC peering")]
    )
    def test_a_way_that_is_not_there_is_not_a_closed_port(self, address: str, fix: str) -> None:
        """An address of IPv6 alone, out of a subnet that has none."""
        answer = network.Answer(address=address, error="Network is unreachable", no_route=True)
        found = network.port(subject(), (answer,))
        assert found.verdict == "FAIL"
        assert fix in str(found.fix)
        assert "tunnel" not in str(found.fix)

    def test_silence_is_a_firewalls(self) -> None:
        answer = network.Answer(address="10.0.0.1", error="no answer within 5 s", timed_out=True)
        found = network.port(subject(), (answer,))
        assert found.verdict == "FAIL"
        assert "security group" in str(found.fix)

    def test_a_resolver_that_does_not_answer_is_not_a_wrong_name(self) -> None:
        """glibc gives up by itself, after 10 s of silence as a rule."""
        gave_up = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        for found in (
            network.no_resolver(subject(), "not done within 15 s"),
            network.no_address(subject(), gave_up),
        ):
            assert f"no resolver answers for {HOST}: " in found.said
            assert "DNS" in str(found.fix)
            assert "spelling" not in str(found.fix)


class TestKeys:
    @pytest.mark.parametrize(
        ("expires_at", "verdict", "said"),
        [
            (NOW + 3600, "ok", "60 min left"),
            (NOW + 899, "ok", "15 min left; tokens end with them"),
            (NOW, "FAIL", "expired 0 s ago"),
            (NOW - 7200, "FAIL", "expired 2 h ago"),
            (None, "ok", "a role session whose end is not told here"),
        ],
    )
    def test_life(self, expires_at: float | None, verdict: str, said: str) -> None:
        """Ended is ended to the second."""
        found = keys.lifetime(role_session(expires_at), now=NOW)
        assert found.verdict == verdict
        assert said in found.said

    @pytest.mark.parametrize(
        ("skew", "verdict"), [(0.0, "ok"), (300.0, "ok"), (300.5, "FAIL"), (-301.0, "FAIL")]
    )
    def test_aws_allows_five_minutes(self, skew: float, verdict: str) -> None:
        assert keys.clock(Caller(skew=skew)).verdict == verdict

    def test_a_policy_that_denies_sts_says_nothing_about_tokens(self) -> None:
        assert keys.identity(Caller(refusal="AccessDenied")).verdict == "unknown"


class TestCertificate:
    def look(self, code: int, *, expires_at: float = NOW + 1e6, names: str = HOST) -> Look:
        seen = Certificate(
            names=(names,), issuer="Amazon RDS Root", begins_at=NOW - 1e6, expires_at=expires_at
        )
        return Look(outcome="not verified", said="reason", code=code, certificate=seen)

    def test_an_authority_that_has_expired_is_told_from_the_servers_own_end(self) -> None:
        """OpenSSL has one number for both."""
        found = certificate.certificate(subject(), self.look(10), ca_file="/rds.pem", now=NOW)
        assert "an authority above it has expired" in found.said
        assert "replace /rds.pem" in str(found.fix)

    def test_one_that_is_not_valid_yet_is_the_clocks_fault(self) -> None:
        found = certificate.certificate(subject(), self.look(9), ca_file=None, now=NOW)
        assert "not valid yet" in found.said
        assert "NTP" in str(found.fix)

    def test_one_that_only_an_older_python_takes_is_told(self) -> None:
        """`Basic Constraints of CA cert not marked critical`, of a company's own authority."""
        found = certificate.certificate(subject(), self.look(89), ca_file="/own.pem", now=NOW)
        assert "from 3.13 on" in found.said
        assert "VERIFY_X509_STRICT" in str(found.fix)

    def test_one_that_ends_soon_is_good_and_told(self) -> None:
        seen = self.look(0, expires_at=NOW + 10 * 86400).certificate
        look = Look(outcome="verified", said="TLSv1.3", certificate=seen)
        found = certificate.certificate(subject(), look, ca_file=None, now=NOW)
        assert found.verdict == "ok"
        assert "in 10 days: see to its renewal" in found.said


class TestPlace:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            (HOST, "an RDS endpoint"),
            (HOST.replace(".abc", ".cluster-abc"), "an Aurora cluster endpoint"),
            (HOST.replace(".abc", ".cluster-ro-abc"), "an Aurora reader endpoint"),
            (HOST.replace(".abc", ".proxy-abc"), "an RDS Proxy endpoint"),
            ("w.global-abc.global.rds.amazonaws.com", "the writer endpoint of a Global Database"),
        ],
    )
    def test_the_kind_of_an_endpoint_is_in_its_name(self, name: str, kind: str) -> None:
        assert place.host(subject(f"postgresql://app@{name}/app")).said == f"{name} is {kind}"


class TestRefusal:
    """Which cause is the likeliest depends on what could be confirmed."""

    def causes(self, *, caller: Caller | None = None, **options: object) -> list[str]:
        found = refusal.causes(
            subject(**options),
            found=FoundRegion(region="eu-west-1", source=BY_HOST),
            keys=role_session(),
            caller=caller or Caller(arn="arn:aws:sts::123456789012:assumed-role/app/i", skew=0.0),
        )
        return [cause.what.partition(":")[0] for cause in found]

    def test_all_confirmed_leaves_the_policy(self) -> None:
        assert self.causes()[0] == "the policy"

    def test_a_tunnels_port_comes_before_it(self) -> None:
        """The port is signed, too, and no certificate has it."""
        url = "postgresql://app@localhost:15432/app"
        assert self.causes(url=url, token_host=HOST)[0] == "the port"
        assert self.causes(url=url, token_host=HOST, token_port=5432)[0] == "the policy"

    def test_what_sts_could_not_say_comes_before_it(self) -> None:
        assert self.causes(caller=Caller(silence="ConnectTimeoutError"))[:3] == [
            "the credentials",
            "the clock",
            "the policy",
        ]

    def test_a_capital_letter_is_worth_a_word(self) -> None:
        url = f"postgresql://App@{HOST}/app"
        assert self.causes(url=url)[:2] == ["the policy", "the spelling"]


@pytest.mark.parametrize(
    ("code", "text", "of_token"),
    [
        ("28000", 'PAM authentication failed for user "app"', True),
        ("", 'PAM authentication failed for user "app"', True),
        ("", 'IAM authentication failed for the role "app"', True),
        ("1045", "Access denied for user 'app'@'10.0.0.1' (using password: YES)", True),
        ("28000", 'no pg_hba.conf entry for host "10.0.0.1", user "app"', False),
        ("28000", 'role "app" is not permitted to log in', False),
        ("28000", "This RDS proxy has no credentials for the role app. Check the", False),
        ("28000", "Worte, die niemand kennt", True),
        ("28P01", 'password authentication failed for user "app"', False),
        ("3D000", 'database "orders" does not exist', False),
    ],
)
def test_a_refused_token_is_told_from_a_login_that_fails_otherwise(
    code: str, text: str, of_token: bool
) -> None:
    """PostgreSQL has one SQLSTATE for a refused token, NOLOGIN, and who may not come at all."""
    assert login.Refusal(code=code, text=text).is_of_token is of_token


@pytest.mark.parametrize(
    ("host", "is_member", "verdict"),
    [
        (HOST, True, "ok"),
        (HOST, False, "FAIL"),
        (HOST.replace(".abc", ".proxy-abc"), False, "ok"),
        (HOST, None, "ok"),
    ],
)
def test_behind_a_proxy_nobody_need_be_a_member(
    host: str, is_member: bool | None, verdict: str
) -> None:
    """The proxy judges the token, and logs in to the database with a password of its own."""
    session = login.Session(user="app", version="18.0", is_member=is_member)
    found = login.membership(subject(f"postgresql://app@{host}/app"), session)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("region", "account", "resource"),
    [
        ("eu-west-1", "1", "arn:aws:rds-db:eu-west-1:1:dbuser:*/app"),
        ("cn-north-1", "1", "arn:aws-cn:rds-db:cn-north-1:1:dbuser:*/app"),
        (None, None, "arn:aws:rds-db:<region>:<account>:dbuser:*/app"),
    ],
)
def test_the_policy_names_partition_region_account_and_user(
    region: str | None, account: str | None, resource: str
) -> None:
    (statement,) = policy(user="app", region=region, account=account)["Statement"]
    assert statement["Resource"] == resource


def test_a_server_that_quotes_the_token_does_not_bring_it_to_light() -> None:
    """Poolers may: what they say is shown, without what they were sent."""
    error = Exception(1045, "no such password: h:1/?Action=connect&X-Amz-Signature=5e in pool")
    assert login.refusal(error).text == "no such password: <token> in pool"


@pytest.mark.parametrize("fix", ["ask \x1b[2Jagain", "ask again\nsay \x1b[2J"])
def test_no_server_commands_the_terminal(fix: str) -> None:
    """A MySQL's first word is nobody's yet, and its certificate's names are anybody's."""
    finding = Finding(name="TLS", verdict="FAIL", said="1040 \x1b]0;owned\x07\x1b[2J", fix=fix)
    text = shown(finding, Console(width=80)).plain
    assert text.replace("\n", "").isprintable()
    assert "1040 ?]0;owned??[2J" in text


def test_a_proxy_that_does_not_know_the_user_is_told_apart() -> None:
    """Whether it says so before the token or after."""
    said = "28000 This RDS proxy has no credentials for the role app. Check the credentials"
    asked = user.iam_user(subject(), Reply(wants="error", said=said), meant=None)
    assert "give the proxy a secret for 'app'" in str(asked.fix)
    refused = login.Refusal(code="28000", text=said)
    assert login.not_let_in(subject(), refused).fix == asked.fix


def test_a_database_that_wakes_up_is_told_from_a_broken_one() -> None:
    """A paused Aurora Serverless listens, and answers a first login after its timeout."""
    slow = Reply(wants="error", said="no answer within 5 s")
    assert "--timeout" in (user.iam_user(subject(), slow, meant=None).fix or "")
    late = login.Refusal(code="", text="no session within 30 s")
    assert "--timeout" in (login.not_let_in(subject(), late).fix or "")


def test_commands_are_not_wrapped_and_sentences_are() -> None:
    """A command is pasted as it stands."""
    command = "aws " + "x" * 90
    finding = Finding(
        name="port", verdict="FAIL", said="word " * 30, fix=f"{'do it ' * 20}\n{command}"
    )
    lines = shown(finding, Console(width=80)).plain.splitlines()
    assert f"{' ' * 17}{command}" in lines
    assert max(len(line) for line in lines if command not in line) <= 80
    assert all(line.startswith(" " * 15) for line in lines[1:])


@pytest.mark.parametrize("make", [lambda s: s.url.render_as_string(), str])
def test_the_subject_is_the_url_without_what_is_meant_for_others(
    make: Callable[[Subject], str],
) -> None:
    """The plugin's arguments say what an option says, and an option has the word."""
    url = f"postgresql://app@h/app?plugin=rds_iam&rds_iam_token_host={HOST}&rds_iam_token_port=1"
    found = subject(url, token_port=2)
    assert (found.signed_host, found.signed_port, found.port) == (HOST, 2, 5432)
    assert "rds_iam" not in make(found)
