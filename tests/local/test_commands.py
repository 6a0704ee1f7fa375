"""`rds-iam-async token` and `local`, as their users run them: in shells, with psql."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rds_iam_async._cli import app
from rds_iam_async.testing import LocalAws, LocalRds
from rds_iam_async.testing._claims import read_claims

from .test_cli import COMMAND
from .test_doctor import environment

PSQL = pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
# Processes of their own, each with the SDK to import, which takes its time on a busy machine.
SEVERAL = pytest.mark.timeout(60)
TOKEN = " ".join([*COMMAND, "token"])


def token(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["token", *arguments])


def shell(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "PG"))}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        env=inherited | variables,
    )


class TestToken:
    @PSQL
    @SEVERAL
    def test_psql_logs_in_with_it(self, rds: LocalRds) -> None:
        """The line of the manual, in a real shell."""
        ran = shell(
            f"PGPASSWORD=$({TOKEN} --host {rds.host} --port {rds.port} --user {rds.user}) "
            f'psql -AtX "host={rds.host} port={rds.port} user={rds.user} dbname={rds.database} '
            f'sslmode=verify-full sslrootcert={rds.ca_file}" -c "select current_user"',
            **rds.environment,
        )
        assert (ran.returncode, ran.stdout) == (0, "app\n"), ran.stderr
        assert [login.outcome for login in rds.log] == ["accepted"]

    def test_it_stands_alone_on_standard_output(self, rds: LocalRds, aws: LocalAws) -> None:
        """And says what `aws rds generate-db-auth-token` would, by its names of the options."""
        with aws.installed("static"):
            ran = token("--hostname", "DB.abc.eu-west-1.rds.amazonaws.com.", "--username", "app")
        assert (ran.exit_code, ran.stderr) == (0, "")
        (line,) = ran.stdout.splitlines()
        claims = read_claims(line)
        assert claims.netloc == "db.abc.eu-west-1.rds.amazonaws.com:5432"
        assert claims.parameters["DBUser"] == "app"
        assert (claims.scope[2], claims.lifetime) == ("eu-west-1", 900)

    def test_a_region_of_ones_own_has_the_word(self, aws: LocalAws) -> None:
        with aws.installed("static"):
            ran = token("--host", "db.internal", "--user", "app", "--region", "us-east-1")
        assert read_claims(ran.stdout.strip()).scope[2] == "us-east-1"
        assert ran.stderr == (
            "rds-iam-async: 'db.internal' is no name that RDS gives out; RDS accepts only tokens "
            "for its own name\n"
        )

    def test_a_region_that_is_not_the_databases_is_told_on_standard_error(
        self, aws: LocalAws
    ) -> None:
        """RDS would refuse such a token without a reason."""
        with aws.installed("static"):
            where = ("--host", "db.abc.eu-west-1.rds.amazonaws.com", "--user", "app")
            ran = token(*where, "--region", "us-east-1")
        assert ran.exit_code == 0
        assert "signed for us-east-1, and the database is in eu-west-1" in ran.stderr

    def test_one_that_ends_early_is_told_on_standard_error(self, aws: LocalAws) -> None:
        """It dies with the credentials."""
        aws.lifetime = 300
        with aws.installed("web-identity"):
            ran = token("--host", "db.abc.eu-west-1.rds.amazonaws.com", "--user", "app")
        assert len(ran.stdout.splitlines()) == 1
        assert ran.stderr.startswith("rds-iam-async: the token ends in 29")
        assert ran.stderr.endswith("with the AWS credentials that signed it\n")

    def test_as_json_it_says_when_it_ends_and_who_signed(self, aws: LocalAws) -> None:
        before = time.time()
        with aws.installed("static"):
            ran = token("--host", "db.abc.eu-west-1.rds.amazonaws.com", "--user", "a", "--json")
        said = json.loads(ran.stdout)
        assert said["expires_at"] == said["minted_at"] + 900
        assert int(before) <= said["minted_at"] <= time.time()
        assert said["access_key_id"] == read_claims(said["token"]).access_key_id
        assert (said["region"], said["provider"]) == ("eu-west-1", "shared-credentials-file")

    def test_another_profile_signs(self, aws: LocalAws) -> None:
        with aws.installed("static"):
            where = ("--host", "db.abc.eu-west-1.rds.amazonaws.com", "--user", "a")
            ran = token(*where, "--profile", "static-session")
        assert "X-Amz-Security-Token" in read_claims(ran.stdout.strip()).parameters

    @pytest.mark.parametrize(
        ("arguments", "status", "said"),
        [
            (("--user", "app"), 2, "Missing option"),
            (("--host", "x://app:pw@h", "--user", "a", "--region", "eu-west-1"), 2, "the host is"),
            (("--host", "a b", "--user", "app", "--region", "eu-west-1"), 2, "not a host name"),
            (("--host", "x.rds", "--user", "app", "--port", "0"), 2, "--port"),
            (("--host", "x.rds", "--user", "app", "--profile", "nope"), 2, "nope"),
        ],
    )
    def test_a_wrong_call_has_nothing_on_standard_output(
        self, aws: LocalAws, arguments: tuple[str, ...], status: int, said: str
    ) -> None:
        """So that a password that is none is never sent."""
        with aws.installed("static"):
            ran = token(*arguments)
        assert (ran.exit_code, ran.stdout) == (status, "")
        assert said in " ".join(ran.stderr.split())

    @SEVERAL
    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
    def test_a_token_that_cannot_be_written_is_one_line_and_exit_status_1(
        self, aws: LocalAws
    ) -> None:
        """A traceback is no message, and a frame of it holds the token."""
        where = "--host db.abc.eu-west-1.rds.amazonaws.com --user app"
        ran = shell(f"{TOKEN} {where} > /dev/full", **aws.environment("static"))
        assert ran.returncode == 1
        assert ran.stderr == "rds-iam-async: cannot write: No space left on device\n"

    @SEVERAL
    def test_the_sdk_does_not_speak_between(self, aws: LocalAws) -> None:
        """Python writes warnings that no logger takes to standard error: ours says it all."""
        ran = shell(
            f"{TOKEN} --host db.abc.eu-west-1.rds.amazonaws.com --user app",
            AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE",
            AWS_SECRET_ACCESS_KEY="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            AWS_CREDENTIAL_EXPIRATION="2020-01-01T00:00:00Z",
        )
        assert (ran.returncode, ran.stdout) == (1, "")
        said, hint = ran.stderr.splitlines()
        assert said.startswith("rds-iam-async: no credentials from AWS: ")
        assert hint.startswith("hint: renew them")

    def test_no_credentials_is_exit_status_1(self, aws: LocalAws) -> None:
        with aws.installed("static"), environment(AWS_PROFILE=None, AWS_DEFAULT_PROFILE=None):
            ran = token("--host", "db.abc.eu-west-1.rds.amazonaws.com", "--user", "app")
        assert (ran.exit_code, ran.stdout) == (1, "")
        assert ran.stderr.startswith("rds-iam-async: no credentials found in the AWS chain\nhint: ")


@contextmanager
def local(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "local", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines_until(stream: Any, words: str) -> list[str]:
    lines: list[str] = []
    while not lines or words not in lines[-1]:
        line = stream.readline()
        assert line, f"{words!r} did not come: {lines}"
        lines.append(line.rstrip("\n"))
    return lines


def processes_of(session: int) -> list[str]:
    """Return the command lines of all processes of one session that live."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()
            if entry.name.isdigit() and int(state[3]) == session and state[0] != "Z":
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, ValueError, IndexError):
            continue  # it went just now, or is no process
    return found


class TestLocal:
    @PSQL
    @pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
    @SEVERAL
    def test_another_terminal_uses_it_and_ctrl_c_leaves_nothing(self, tmp_path: Path) -> None:
        """Its lines, sourced by a shell; a token, psql, the doctor; each login told; the end."""
        file = tmp_path / "rds.env"
        with local("--env-file", str(file), "--user", "me", "--database", "orders") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            (ready,) = lines_until(process.stderr, "ready")
            assert ready.endswith("/orders is ready; Ctrl-C ends it")
            line = f"PGPASSWORD=$({TOKEN} --host $PGHOST --port $PGPORT --user $PGUSER 2>/dev/null)"
            psql = "psql -AtX -c 'select current_user, current_database()'"
            # What the user has from elsewhere would not go with these keys.
            ran = shell(
                f". {file}; {line} {psql}",
                AWS_SESSION_TOKEN="old",
                AWS_SECURITY_TOKEN="older",
                AWS_CREDENTIAL_EXPIRATION="2020-01-01T00:00:00Z",
                AWS_PROFILE="none",
                PGSERVICE="none",
                PGHOSTADDR="192.0.2.1",
            )
            assert (ran.returncode, ran.stdout) == (0, "me|orders\n"), ran.stderr
            told = lines_until(process.stderr, "accepted  me: the token is good (AKIA")
            assert len(told) == 1
            bad = shell(f". {file}; PGPASSWORD=none {psql}")
            assert "PAM authentication failed" in bad.stderr
            lines_until(process.stderr, "denied    me: not a token: ")
            there = dict(_exports(file.read_text()))
            healthy = CliRunner(env=there).invoke(app, ["doctor", there["DATABASE_URL"]])
            assert healthy.exit_code == 0, healthy.output
            process.send_signal(signal.SIGINT)
            exports, rest = process.communicate()
        assert (process.returncode, rest.count("Traceback")) == (0, 0)
        assert exports == file.read_text()
        assert processes_of(process.pid) == []
        assert not Path(there["RDS_IAM_CA_FILE"]).exists()

    @SEVERAL
    def test_as_json_for_programs_and_sigterm_ends_it(self) -> None:
        """A supervisor's way; the keys are those of the shell's lines."""
        with local("--json", "--token-lifetime", "60") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            lines_until(process.stderr, "ready")
            process.send_signal(signal.SIGTERM)
            said, _ = process.communicate()
        document = json.loads(said)
        assert process.returncode == 0
        assert document["environment"]["DATABASE_URL"] == document["url"]
        assert document["environment"]["AWS_REGION"] == document["region"] == "eu-west-1"
        assert (document["user"], document["database"]) == ("app", "app")

    def test_what_cannot_be_is_exit_status_2(self) -> None:
        ran = CliRunner().invoke(app, ["local", "--user", "postgres"])
        assert (ran.exit_code, ran.stdout) == (2, "")
        assert "'postgres' is taken" in ran.stderr

    def test_a_port_that_is_taken_is_exit_status_1(self, rds: LocalRds) -> None:
        ran = CliRunner().invoke(app, ["local", "--port", str(rds.port)])
        assert (ran.exit_code, ran.stdout) == (1, "")
        assert str(rds.port) in ran.stderr


def _exports(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            yield name, value.strip("'")


class TestCompletion:
    """What `--install-completion` installs, and what the shells then ask by variables."""

    @pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
    def test_each_shell_gets_its_script(self, name: str) -> None:
        variables = {"_RDS_IAM_ASYNC_COMPLETE": f"source_{name}"}
        ran = CliRunner(env=variables).invoke(app, [], prog_name="rds-iam-async")
        assert ran.exit_code == 0, ran.output
        assert f"_RDS_IAM_ASYNC_COMPLETE=complete_{name}" in ran.stdout

    @pytest.mark.parametrize(
        ("typed", "offered"),
        [("rds-iam-async do", "doctor"), ("rds-iam-async token --ho", "--host")],
    )
    def test_commands_and_options_are_completed(self, typed: str, offered: str) -> None:
        variables = {
            "_RDS_IAM_ASYNC_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        }
        ran = CliRunner(env=variables).invoke(app, [], prog_name="rds-iam-async")
        assert offered in ran.stdout.split()


class TestHelp:
    @pytest.mark.parametrize(
        "command", [(), ("token",), ("doctor",), ("local",), ("demo",), ("ca-bundle",)]
    )
    def test_each_command_documents_its_exit_statuses(self, command: tuple[str, ...]) -> None:
        ran = CliRunner().invoke(app, [*command, "--help"])
        said = " ".join(ran.stdout.split())
        for status in ("0 all is well", "1 the work could not be", "2 the call", "130 interrupted"):
            assert status in said
