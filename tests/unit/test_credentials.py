"""L9: keys out of an ordinary AWS session, whatever kind it is."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aioboto3
import aiobotocore.session
import boto3
import botocore.credentials
import botocore.loaders
import botocore.session
import pytest

from rds_iam_async import ConfigurationError, CredentialsError
from rds_iam_async._credentials import SessionCredentials
from rds_iam_async._renewal import SmallBites, in_small_bites, renewed

pytestmark = pytest.mark.anyio


class Home:
    """The AWS files of a user who has nothing else."""

    def __init__(self, directory: Path) -> None:
        self.credentials = directory / "credentials"
        self.config = directory / "config"

    def has_keys(self, key: str, *, profile: str = "default", extra: str = "") -> None:
        self.credentials.write_text(
            f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = s\n{extra}"
        )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path)
    for name in ("PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home.config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home.credentials))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return home


KINDS: list[Callable[[], Any]] = [
    lambda: None,
    aioboto3.Session,
    aiobotocore.session.get_session,
    boto3.Session,
    botocore.session.get_session,
    lambda: aioboto3.Session,  # a function that makes one
]
NAMES = ["nothing", "aioboto3", "aiobotocore", "boto3", "botocore", "a function"]


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
async def test_any_kind_of_session_gives_its_keys(kind: Callable[[], Any], home: Home) -> None:
    """And a rotated file is picked up without a restart: botocore reads it once per session."""
    home.has_keys("AKIAOLD")
    source = SessionCredentials(kind())
    first = await source.snapshot()
    assert (first.access_key_id, first.expires_at) == ("AKIAOLD", None)
    assert source.provider == "shared-credentials-file"
    home.has_keys("AKIANEW")
    assert (await source.snapshot()).access_key_id == "AKIANEW"


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
async def test_no_credentials_is_said_plainly(kind: Callable[[], Any]) -> None:
    """L17: what start() raises on a machine without any."""
    with pytest.raises(CredentialsError, match="no credentials found") as caught:
        await SessionCredentials(kind()).snapshot()
    assert "aws sts get-caller-identity" in caught.value.hint


async def test_a_profile_stays_the_sessions_own(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewed session must not fall back to the environment's keys: that is another identity."""
    home.has_keys("AKIAPROD", profile="prod")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    source = SessionCredentials(aioboto3.Session(profile_name="prod"))
    keys = [(await source.snapshot()).access_key_id for _ in range(3)]
    assert keys == ["AKIAPROD"] * 3


async def test_explicit_keys_stay_the_sessions_own(home: Home) -> None:
    """They are nowhere else, so a renewed session would have the file's."""
    home.has_keys("AKIAFILE")
    session = aioboto3.Session(aws_access_key_id="AKIAMINE", aws_secret_access_key="s")
    source = SessionCredentials(session)
    assert [(await source.snapshot()).access_key_id for _ in range(2)] == ["AKIAMINE"] * 2


async def test_a_renewed_session_has_the_handlers_of_the_one_given(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are part of its settings; registering the SDK's own anew would take 4 ms of the lock."""
    home.has_keys("AKIASOURCE", profile="source")
    home.config.write_text(
        "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/app\nsource_profile = source\n"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    core = aiobotocore.session.AioSession(profile="role")
    clients = []
    core.register("creating-client-class.sts", lambda **_: clients.append("sts"))
    fresh = renewed(renewed(core))
    assert fresh is not core
    with pytest.raises(CredentialsError, match="EndpointConnectionError"):
        await SessionCredentials(lambda: fresh).snapshot()
    assert clients == ["sts"]


class Bare(aiobotocore.session.AioSession):  # type: ignore[misc]
    """A session of somebody who wants nothing to be said."""

    def __init__(self) -> None:
        super().__init__()


class Peculiar(aiobotocore.session.AioSession):  # type: ignore[misc]
    """A session that only its author can make."""

    def __init__(self, secret: object) -> None:
        super().__init__()


def test_a_session_that_cannot_be_made_cheaply_is_made_all_the_same() -> None:
    """Only speed depends on what its class accepts."""
    bare, peculiar = Bare(), Peculiar(object())
    assert type(renewed(bare)) is Bare
    assert renewed(bare) is not bare
    assert renewed(peculiar) is peculiar


def test_the_sdks_data_files_are_read_as_it_reads_them(tmp_path: Path) -> None:
    """In small bites, but with the same outcome, and by its own loader where ours knows no way."""
    theirs = botocore.session.get_session()
    ours = in_small_bites(botocore.session.get_session())
    for name in ("endpoints", "partitions", "sts/2011-06-15/service-2"):
        loaders = [session.get_component("data_loader") for session in (theirs, ours)]
        one, other = (loader.load_data(name) for loader in loaders)
        assert json.dumps(one) == json.dumps(other)
    bites = ours.get_component("data_loader").file_loader
    assert bites.load_file(str(tmp_path / "nothing")) is None


def test_parsing_a_data_file_lets_other_threads_run(tmp_path: Path) -> None:
    """`json.loads` does not; it may be interrupted wherever it calls Python code."""
    (tmp_path / "model.json").write_text(json.dumps([{"shape": number} for number in range(5)]))
    bites = SmallBites(botocore.loaders.JSONFileLoader())
    calls: list[str] = []
    sys.setprofile(lambda frame, event, _: calls.append(f"{event} {frame.f_code.co_name}"))
    try:
        bites.load_file(str(tmp_path / "model"))
    finally:
        sys.setprofile(None)
    assert calls.count("call _as_it_is") == 5


async def test_a_provider_of_the_callers_own_is_asked_again(home: Home) -> None:
    """The popular way to assume a role by hand: refreshable credentials put into a session."""
    made = []

    def make() -> dict[str, str]:
        made.append(len(made) + 1)
        end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=300)
        return {
            "access_key": f"ASIA{len(made)}",
            "secret_key": "s",
            "token": "t",
            "expiry_time": end.isoformat(),
        }

    core = botocore.session.get_session()
    core._credentials = botocore.credentials.RefreshableCredentials.create_from_metadata(
        make(), refresh_using=make, method="mine"
    )
    source = SessionCredentials(boto3.Session(botocore_session=core))
    first, second = await source.snapshot(), await source.snapshot()
    assert source.provider == "mine"
    assert first.access_key_id != second.access_key_id


@pytest.mark.parametrize("seconds", [60, 900, 3600, 43200])
async def test_the_end_is_known_to_the_second_by_public_api(home: Home, seconds: int) -> None:
    """L2 stands on it; `refresh_needed` is the one public way to ask."""
    end = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=seconds)
    script = home.config.parent / "process.py"
    answer = {
        "Version": 1,
        "AccessKeyId": "ASIAPROC",
        "SecretAccessKey": "s",
        "SessionToken": "t",
        "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    script.write_text(f"print({json.dumps(answer)!r})")
    home.config.write_text(f"[default]\ncredential_process = {sys.executable} {script}\n")
    source = SessionCredentials()
    keys = await source.snapshot()
    assert source.provider == "custom-process"
    assert keys.expires_at is not None
    assert end.timestamp() - 1 <= keys.expires_at <= end.timestamp()


async def test_a_failing_process_is_an_error_of_ours_without_what_it_wrote(home: Home) -> None:
    """Foreign errors are translated once, at the door; standard error may hold anything."""
    script = home.config.parent / "process.py"
    script.write_text("import sys; sys.exit('secret=wJalrXUtnFEMI')")
    home.config.write_text(f"[default]\ncredential_process = {sys.executable} {script}\n")
    with pytest.raises(CredentialsError, match="CredentialRetrievalError: custom-process") as got:
        await SessionCredentials().snapshot()
    assert nothing_of_the_sdk_is_left(got.value)


async def test_an_answer_that_does_not_parse_is_not_quoted(home: Home) -> None:
    """It may be a whole one cut off after its keys."""
    script = home.config.parent / "process.py"
    script.write_text('print(\'{"SecretAccessKey": "wJalrXUtnFEMI"\')')
    home.config.write_text(f"[default]\ncredential_process = {sys.executable} {script}\n")
    with pytest.raises(CredentialsError, match="JSONDecodeError") as caught:
        await SessionCredentials().snapshot()
    assert nothing_of_the_sdk_is_left(caught.value)


async def test_a_file_that_does_not_parse_is_not_quoted(home: Home) -> None:
    """The line that is wrong may be the one with the secret."""
    home.credentials.write_text("[default]\nwJalrXUtnFEMI\n")
    with pytest.raises(CredentialsError, match="ConfigParseError") as caught:
        await SessionCredentials().snapshot()
    assert nothing_of_the_sdk_is_left(caught.value)


def nothing_of_the_sdk_is_left(error: BaseException) -> bool:
    """Tell whether a reporter that prints chains and locals would show nothing secret."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return (
        "wJalrXUtnFEMI" not in "".join(shown)
        and error.__cause__ is None
        and error.__context__ is None
    )


async def test_a_missing_profile_names_itself(home: Home) -> None:
    """The hint is about the profile, not about the chain."""
    with pytest.raises(CredentialsError, match="nowhere") as caught:
        await SessionCredentials(lambda: aioboto3.Session(profile_name="nowhere")).snapshot()
    assert "profile" in caught.value.hint


async def test_the_chain_is_looked_at_in_another_thread(home: Home) -> None:
    """L9: what blocks there does not stall the app."""
    home.has_keys("AKIA")
    threads = []

    def make() -> Any:
        threads.append(threading.get_ident())
        return aioboto3.Session()

    await SessionCredentials(make).snapshot()
    assert threads[0] != threading.get_ident()


async def test_the_app_loop_turns_while_the_chain_blocks(home: Home) -> None:
    """L9: a session factory in blocking code is not felt, for however many turns it takes."""
    home.has_keys("AKIA")
    turned, in_time = threading.Event(), []

    def slow() -> Any:
        in_time.append(turned.wait(10))  # blocking on purpose: this is the thing under test
        return aioboto3.Session()

    resolving = asyncio.ensure_future(SessionCredentials(slow).snapshot())
    for _ in range(50):
        await asyncio.sleep(0.001)
    turned.set()
    await resolving
    assert in_time == [True]


def test_nothing_is_imported_or_read_until_asked() -> None:
    """The SDK's price is paid off the loop, at the first look."""
    code = (
        "import sys\n"
        "from rds_iam_async import TokenRefresher\n"
        "TokenRefresher()\n"
        "assert 'botocore' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_any_sdk_the_error_says_what_to_install() -> None:
    """Somebody overrode the pin and took it all away."""
    code = (
        "import sys, asyncio\n"
        "for name in ('aioboto3', 'aiobotocore', 'aiobotocore.session'): sys.modules[name] = None\n"
        "from rds_iam_async._credentials import SessionCredentials\n"
        "try: asyncio.run(SessionCredentials().snapshot())\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("ConfigurationError")
    assert "pip install aioboto3" in run.stdout


def test_aiobotocore_alone_is_enough(home: Home) -> None:
    """Who overrides aioboto3's pin may leave it out."""
    home.has_keys("AKIA")
    code = (
        "import sys, asyncio\n"
        "sys.modules['aioboto3'] = None\n"
        "from rds_iam_async._credentials import SessionCredentials\n"
        "print(asyncio.run(SessionCredentials().snapshot()).access_key_id)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "AKIA\n"


async def test_the_sdks_log_is_quiet_for_us_only(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    """L9: STS bodies hold keys, and an outage has a thousand looks, each of which finds a file.

    The application's own calls are logged as before.
    """
    home.has_keys("AKIA")
    await SessionCredentials().snapshot()
    with caplog.at_level(logging.DEBUG):
        await SessionCredentials().snapshot()
        ours = [r for r in caplog.records if r.name.startswith(("botocore", "aiobotocore"))]
        assert ours == []
        await aioboto3.Session().get_credentials()
        theirs = [r for r in caplog.records if r.name.startswith(("botocore", "aiobotocore"))]
    assert len(theirs) > len(ours)


def test_a_thing_that_is_no_session_is_refused() -> None:
    """At once."""
    with pytest.raises(ConfigurationError, match="session is a str"):
        SessionCredentials("prod")
