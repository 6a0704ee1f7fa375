"""What beginning costs: what is imported when, and what is done side by side."""

from __future__ import annotations

import asyncio
import copy
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.credentials
import botocore.session
import pytest
import trustme
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import ConfigurationError, Credentials, CredentialsError, TokenRefresher
from rds_iam_async._credentials import SessionCredentials
from rds_iam_async.telemetry import Event

from .test_telemetry import EVENTS

URL = "postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders"
KEYS = Credentials(access_key_id="AKIA", secret_access_key="s")
LOOK = """
import asyncio, sys, functools
from rds_iam_async._credentials import SessionCredentials, session_of
{make}
async def look():
    source = SessionCredentials({session})
    await source.prepare()
    print((await source.snapshot()).access_key_id)
asyncio.run(look())
names = {{name.partition(".")[0] for name in sys.modules}}
print(sorted(names & {{"aioboto3", "aiobotocore", "aiohttp", "boto3", "botocore"}}))
"""


@pytest.mark.parametrize(
    ("make", "session", "imported"),
    [
        ("", "None", ["aiobotocore", "aiohttp", "botocore"]),
        ("", "session_of('default')", ["aiobotocore", "aiohttp", "botocore"]),
        ("import botocore.session", "botocore.session.get_session", ["botocore"]),
        ("import boto3", "boto3.Session", ["boto3", "botocore"]),
        ("import boto3", "functools.partial(boto3.Session)", ["boto3", "botocore"]),
        (
            "def fresh():\n    import aioboto3\n    return aioboto3.Session()",
            "fresh",
            ["aioboto3", "aiobotocore", "aiohttp", "boto3", "botocore"],
        ),
    ],
    ids=["nothing", "a profile", "botocore", "boto3", "a partial", "a function of the user's"],
)
def test_a_look_imports_no_more_of_the_sdk_than_it_uses(
    make: str, session: str, imported: list[str], tmp_path: Path
) -> None:
    """It is most of what the first token costs: 50 ms for botocore, 200 for aioboto3."""
    files = {"CONFIG": tmp_path / "config", "SHARED_CREDENTIALS": tmp_path / "credentials"}
    text = "[default]\naws_access_key_id = AKIA\naws_secret_access_key = s\n"
    files["SHARED_CREDENTIALS"].write_text(text)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    run = subprocess.run(
        [sys.executable, "-c", LOOK.format(make=make, session=session)],
        env=clean | {f"AWS_{name}_FILE": str(path) for name, path in files.items()},
        capture_output=True,
        text=True,
    )
    assert (run.stdout, run.stderr) == (f"AKIA\n{imported}\n", "")


def test_who_measures_nothing_imports_no_metrics() -> None:
    """The observers that measure are imported by those who ask for them."""
    code = (
        "import sys\n"
        "from rds_iam_async import TokenRefresher, telemetry\n"
        "names = ('_metrics', '_otel', '_prometheus')\n"
        "print([name for name in names if f'rds_iam_async.telemetry.{name}' in sys.modules])\n"
        "print(telemetry.otel_events.__name__, 'prometheus_events' in dir(telemetry))\n"
        "try: telemetry.nonsense\n"
        "except AttributeError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    no_such = "module 'rds_iam_async.telemetry' has no attribute 'nonsense'"
    assert (run.stdout, run.stderr) == (f"[]\notel_events True\n{no_such}\n", "")


@pytest.mark.parametrize("event", [event for event, _, _ in EVENTS], ids=lambda e: type(e).__name__)
def test_events_are_told_apart_and_shown_by_their_fields(event: Event) -> None:
    """As any dataclass, although they have this from their parent."""
    same = copy.copy(event)
    assert same is not event
    assert (same, hash(same), repr(same)) == (event, hash(event), repr(event))
    others = [other for other, _, _ in EVENTS if type(other) is not type(event)]
    assert event not in others
    fields = ", ".join(f"{name}={getattr(event, name)!r}" for name in event.__match_args__)
    assert repr(event).startswith(f"{type(event).__name__}({fields}")


class Roots:
    """A CA file that is read for as long as the test likes."""

    def __init__(self, path: Path) -> None:
        self._pem = trustme.CA().cert_pem.bytes()
        self.path = path
        path.write_bytes(self._pem)

    def block(self) -> None:
        """Let the next who reads the file wait, in C, until there is something to read."""
        self.path.unlink()
        os.mkfifo(self.path)

    def arrive(self) -> None:
        self.path.write_bytes(self._pem)  # returns when somebody reads


class Keys:
    """Gives keys as *how* says; counts the looks, and those that were cancelled."""

    def __init__(self, how: Callable[[], Any]) -> None:
        self._how = how
        self.looks = 0
        self.cancelled = 0

    async def snapshot(self) -> Credentials:
        self.looks += 1
        try:
            await self._how()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return KEYS


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Roots:
    roots = Roots(tmp_path / "roots.pem")
    monkeypatch.setenv("RDS_IAM_CA_FILE", str(roots.path))
    return roots


@pytest.mark.anyio
async def test_keys_are_looked_for_while_roots_are_read(roots: Roots) -> None:
    """The roots come when the keys have been asked for: waiting for one first would never end."""

    async def give() -> None:
        await asyncio.to_thread(roots.arrive)

    keys = Keys(give)
    refresher = TokenRefresher(create_async_engine(URL), credentials=keys)
    roots.block()
    async with asyncio.timeout(10):
        await refresher.start()
    assert refresher.status().ready
    assert keys.looks == 1
    await refresher.aclose()


@pytest.mark.anyio
async def test_a_look_that_fails_while_roots_are_read_is_not_repeated(roots: Roots) -> None:
    """L17: the caller hears of it as soon as he can, and AWS is asked once."""

    async def fail() -> None:
        if not arriving:
            arriving.append(asyncio.ensure_future(asyncio.to_thread(roots.arrive)))
        raise CredentialsError("no keys")

    arriving: list[asyncio.Task[None]] = []
    keys = Keys(fail)
    refresher = TokenRefresher(create_async_engine(URL), credentials=keys)
    roots.block()
    with pytest.raises(CredentialsError, match="no keys"):
        await refresher.start()
    await asyncio.gather(*arriving)
    assert keys.looks == 1
    await refresher.aclose()


@pytest.mark.anyio
async def test_roots_that_do_not_parse_end_the_look_for_keys(roots: Roots) -> None:
    """L19: a start that fails leaves nothing behind, whatever it was that failed."""
    before = asyncio.all_tasks()
    keys = Keys(asyncio.Event().wait)
    refresher = TokenRefresher(create_async_engine(URL), credentials=keys)
    roots.path.write_text("-----BEGIN CERTIFICATE-----\nnonsense")
    with pytest.raises(ConfigurationError, match="does not parse"):
        await refresher.start()
    assert (keys.looks, keys.cancelled) == (1, 1)
    assert asyncio.all_tasks() == before


class Stuck(botocore.credentials.CredentialProvider):
    """A link of the chain that waits in blocking code, as botocore's own do for an answer."""

    METHOD = CANONICAL_NAME = "stuck"

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.answered = threading.Event()
        self.thread: threading.Thread | None = None

    def load(self) -> None:
        self.thread = threading.current_thread()
        self.asked.set()
        self.answered.wait(20)


@pytest.mark.anyio
async def test_a_look_of_botocores_that_hangs_is_left_behind_until_it_ends_by_itself() -> None:
    """What a synchronous chain costs: it cannot be cancelled, but nobody has to wait for it."""
    stuck = Stuck()

    def make() -> Any:
        session = botocore.session.get_session()
        session.get_component("credential_provider").providers.insert(0, stuck)
        return session

    look = asyncio.ensure_future(SessionCredentials(make).snapshot())
    await asyncio.to_thread(stuck.asked.wait, 20)
    look.cancel()
    await asyncio.wait([look])
    assert look.cancelled()
    assert stuck.thread is not None
    assert (stuck.thread.is_alive(), stuck.thread.daemon) == (True, True)
    stuck.answered.set()
    await asyncio.to_thread(stuck.thread.join, 20)
    assert not stuck.thread.is_alive()
