"""The examples do what they say, against the local RDS, as a reader would run them."""

import asyncio
import importlib.util
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from sqlalchemy import text

from rds_iam_async import Credentials, RefreshPolicy, TokenRefresher, open_engine
from rds_iam_async.telemetry import Event, TokenMinted
from rds_iam_async.testing import LocalRds

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[2] / "examples"
OURS = ("AWS_", "DATABASE_", "PG", "RDS_IAM_")

END_SESSIONS = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app'"

# Whoever closed has gone within 10 s; a process that was left behind would stay.
NOBODY_STAYS = """
    DO $$ BEGIN
        FOR attempt IN 1..1000 LOOP
            PERFORM pg_stat_clear_snapshot();
            EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'app');
            PERFORM pg_sleep(0.01);
        END LOOP;
        ASSERT NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'app'), 'somebody stays';
    END $$
"""


class Output:
    """What programs print, in one list, to wait for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._grown = threading.Condition()

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def add(self, line: str) -> None:
        with self._grown:
            self.lines.append(line)
            self._grown.notify_all()

    def wait_for(self, pattern: str, *, times: int = 1, within: float = 40) -> re.Match[str]:
        """Return the match in the line that is the *times*-th to match."""
        found: list[re.Match[str]] = []

        def enough() -> bool:
            found[:] = [match for line in self.lines if (match := re.search(pattern, line))]
            return len(found) >= times

        with self._grown:
            assert self._grown.wait_for(enough, within), f"no {pattern!r} (x{times}) in:\n{self}"
        return found[times - 1]


class Program:
    """A process whose output goes to an `Output`."""

    def __init__(self, *command: str | Path, env: dict[str, str], output: Output) -> None:
        self._output = output
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=env | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._output.add(line.rstrip("\n"))

    def wait(self, within: float = 50) -> int:
        code = self.process.wait(within)
        self._reader.join()
        return code

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """Kill it, and the processes that it has started and not ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()


Start = Callable[..., Program]
UseOnly = Callable[[dict[str, str]], None]


@pytest.fixture
def output() -> Output:
    return Output()


@pytest.fixture
def start(output: Output) -> Iterator[Start]:
    """Start programs, and leave none behind."""
    programs: list[Program] = []

    def start(*command: str | Path, env: dict[str, str]) -> Program:
        programs.append(Program(*command, env=env, output=output))
        return programs[-1]

    yield start
    for program in programs:
        program.kill()


@pytest.fixture
def database(rds: LocalRds) -> LocalRds:
    """The local RDS with the tables of the examples, empty."""
    rds.execute("DROP TABLE IF EXISTS orders, jobs")
    rds.execute(f"SET ROLE {rds.user}; {(EXAMPLES / 'schema.sql').read_text()}")
    return rds


def bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


def environment(rds: LocalRds) -> dict[str, str]:
    return {**bare_environment(), **rds.environment, "DATABASE_URL": rds.url}


def loaded(name: str) -> ModuleType:
    """Import an example anew."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def use_only(monkeypatch: pytest.MonkeyPatch) -> UseOnly:
    """Let this process have these variables, and no others that an example looks at."""

    def use_only(variables: dict[str, str]) -> None:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return use_only


class ShortLivedKeys:
    """AWS keys that live a few seconds, from a program that the AWS config file names."""

    def __init__(self, directory: Path, rds: LocalRds, *, lifetime: int) -> None:
        self.secrets = [secrets.token_urlsafe(30) for _ in range(60)]
        for second, secret in enumerate(self.secrets):
            rds.trust(Credentials(access_key_id=f"ASIASECOND{second:02}", secret_access_key=secret))
        self.program = directory / "keys.py"
        self.program.write_text(
            "import json, time\n"
            "now = int(time.time())\n"
            f"end = time.gmtime(now + {lifetime})\n"
            "print(json.dumps({\n"
            "    'Version': 1,\n"
            "    'AccessKeyId': f'ASIASECOND{now % 60:02}',\n"
            f"    'SecretAccessKey': {self.secrets}[now % 60],\n"
            "    'Expiration': time.strftime('%Y-%m-%dT%H:%M:%SZ', end),\n"
            "}))\n"
        )
        config = directory / "aws-config"
        config.write_text(
            f'[default]\ncredential_process = "{sys.executable}" -IS "{self.program}"\n'
        )
        self.environment = environment(rds) | {
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": str(directory / "none"),
        }
        del self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"]

    def run_out(self) -> None:
        """Give no new ones from now on."""
        self.program.unlink()


def log_everything(directory: Path) -> Path:
    """Return a uvicorn log configuration: every logger, at DEBUG, to standard output."""
    path = directory / "logging.json"
    handler = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    root = {"level": "DEBUG", "handlers": ["all"]}
    path.write_text(
        json.dumps(
            {
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {"all": handler},
                "root": root,
            }
        )
    )
    return path


def test_the_web_service_serves_while_tokens_rotate_and_keeps_them_to_itself(
    database: LocalRds, start: Start, output: Output, tmp_path: Path
) -> None:
    """Tokens live 5 s: requests never notice, probes tell the truth, no log shows one."""
    lifetime = 5
    database.token_lifetime = lifetime + 2  # what is sent at the last has time to get there
    keys = ShortLivedKeys(tmp_path, database, lifetime=lifetime)
    server = start(
        *("-m", "uvicorn", "--app-dir", EXAMPLES, "fastapi_app:app", "--port", "0"),
        *("--log-config", log_everything(tmp_path)),
        env=keys.environment,
    )
    address = output.wait_for(r"Uvicorn running on (http://\S+)")[1]
    with httpx.Client(base_url=address) as client:
        for generation in range(1, 4):
            output.wait_for("minted a token", times=generation)
            database.execute(END_SESSIONS)
            stored = client.post("/orders", json={"item": "tea", "quantity": generation})
            assert stored.status_code == 201, f"{output}"
            assert stored.json() == {"id": generation, "item": "tea", "quantity": generation}
        assert [order["quantity"] for order in client.get("/orders").json()] == [3, 2, 1]
        assert client.post("/orders", json={"item": "", "quantity": 1}).status_code == 422
        logins = list(database.log)
        assert [login.outcome for login in logins] == ["accepted"] * 3
        assert logins[2].access_key_id != logins[0].access_key_id

        ready = client.get("/ready")
        assert ready.status_code == 200
        assert ready.json()["endpoints"][0]["mints"] >= 3

        keys.run_out()
        while (ready := client.get("/ready")).status_code == 200:
            left = ready.json()["endpoints"][0]["usable_for"]
            assert left > 0
            time.sleep(left)
        assert ready.status_code == 503
        assert ready.json()["ready"] is False
        assert client.get("/live").status_code == 200

    assert server.end(signal.SIGTERM) in (0, -signal.SIGTERM)  # uvicorn raises it once more
    output.wait_for("refresher closed")
    output.wait_for("Application shutdown complete")
    for secret in ("X-Amz-Signature", *keys.secrets):
        assert secret not in str(output)


def test_workers_share_the_jobs_and_survive_a_failover(
    database: LocalRds, start: Start, output: Output
) -> None:
    """Each job is done once, a failing one is put off, and workers end when they are told."""
    workers = [start(EXAMPLES / "worker.py", env=environment(database)) for _ in range(2)]
    output.wait_for("waiting for jobs", times=2)
    fill = "INSERT INTO jobs (recipient) SELECT 'ada@example.com' FROM generate_series(1, 10)"
    database.execute(fill)
    output.wait_for("job [0-9]+ done", times=10)
    database.restart()
    database.execute("INSERT INTO jobs (recipient) VALUES ('nobody')")
    database.execute(fill)
    output.wait_for("job [0-9]+ done", times=20)
    output.wait_for("job 11 failed")

    codes = [
        worker.end(number)
        for worker, number in zip(workers, (signal.SIGTERM, signal.SIGINT), strict=True)
    ]
    assert codes == [0, 0]
    done = re.findall(r"job (\d+) done", str(output))
    assert sorted(map(int, done)) == [*range(1, 11), *range(12, 22)]
    assert str(output).count("job 11 failed") == 1


async def test_a_worker_passes_over_a_job_that_another_has_in_hand(
    database: LocalRds, use_only: UseOnly
) -> None:
    """It neither waits for that job nor does it again, and takes it when the other gives up."""
    use_only(database.environment)
    worker = loaded("worker")
    database.execute("INSERT INTO jobs (recipient) VALUES ('ada@example.com'), ('b@example.com')")
    async with asyncio.timeout(15), open_engine(database.url) as engine:
        async with engine.connect() as other:
            assert (await other.execute(worker.TAKE)).one().id == 1
            assert await worker.do_one_job(engine)
            assert not await worker.do_one_job(engine)
            await other.rollback()
        assert await worker.do_one_job(engine)
        assert not await worker.do_one_job(engine)


async def test_the_asyncpg_pool_opens_connections_with_the_token_of_now(
    rds: LocalRds, use_only: UseOnly
) -> None:
    """A connection opened after a rotation does not use the token that the pool began with."""
    use_only(rds.environment)
    minted: asyncio.Queue[TokenMinted] = asyncio.Queue()

    def observe(event: Event) -> None:
        if isinstance(event, TokenMinted):
            minted.put_nowait(event)

    refresher = TokenRefresher(policy=RefreshPolicy(lifetime=4), observe=observe)
    open_pool = loaded("asyncpg_pool").open_pool
    async with open_pool(refresher, rds.endpoint, rds.database) as pool:
        await minted.get()
        assert await pool.fetchval("SELECT current_user") == rds.user
        rds.revoke()
        revoked_at = time.time()
        while (await minted.get()).minted_at < revoked_at:
            pass  # by keys that are good, but for the date
        rds.log.clear()
        await pool.expire_connections()
        assert await pool.fetchval("SELECT current_user") == rds.user
    assert {login.outcome for login in rds.log} == {"accepted"}


def test_an_example_runs_with_one_command_and_no_aws_account(start: Start, output: Output) -> None:
    """`run_locally.py` gives a command everything it needs, and ends as the command ends."""
    pool = EXAMPLES / "asyncpg_pool.py"
    run = start(EXAMPLES / "run_locally.py", sys.executable, pool, env=bare_environment())
    assert run.wait() == 0
    assert output.lines == ["logged in as app"]


async def asked_whoami(module: ModuleType) -> dict[str, str]:
    transport = httpx.ASGITransport(module.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        return (await client.get("/whoami")).raise_for_status().json()


async def test_production_logs_in_with_iam_and_replaces_connections_that_were_dropped(
    rds: LocalRds, use_only: UseOnly
) -> None:
    """Without a password set, each login is by token; a hang-up while idle is not felt."""
    use_only({**rds.environment, "DATABASE_URL": rds.url})
    module = loaded("prod_and_dev")
    async with module.lifespan(module.app):
        assert await asked_whoami(module) == {"user": rds.user}
        rds.execute(END_SESSIONS)
        assert await asked_whoami(module) == {"user": rds.user}
        assert module.refresher.status().endpoints[0].cold_mints == 0
    assert [login.outcome for login in rds.log] == ["accepted"] * 2


async def test_a_script_may_import_the_engine_and_use_it(rds: LocalRds, use_only: UseOnly) -> None:
    """The engine works without the app's lifespan: its first connection waits for a token."""
    use_only({**rds.environment, "DATABASE_URL": rds.url})
    module = loaded("prod_and_dev")
    async with module.engine.connect() as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
    await module.engine.dispose()
    await module.refresher.aclose()


async def test_development_logs_in_with_a_password_and_asks_aws_for_nothing(
    rds: LocalRds, use_only: UseOnly
) -> None:
    """With a password set there is no refresher, and no AWS key need be anywhere."""
    rds.create_user("developer", password="o-pen/sesame")
    url = f"postgresql+asyncpg://developer@{rds.host}:{rds.port}/{rds.database}"
    use_only({"DATABASE_URL": url, "DATABASE_PASSWORD": "o-pen/sesame"})
    module = loaded("prod_and_dev")
    async with module.lifespan(module.app):
        assert await asked_whoami(module) == {"user": "developer"}
    assert module.refresher is None
    assert list(rds.log) == []
