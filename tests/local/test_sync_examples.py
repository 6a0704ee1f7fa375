"""The sync examples do what they say: a real gunicorn, a real Celery worker, a real Alembic."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from rds_iam_async.testing import LocalRds

from .test_examples import EXAMPLES, Output, Start, database, environment, output, start
from .workload import outcomes

__all__ = ["database", "output", "start"]  # fixtures

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("start")]


def sync_environment(rds: LocalRds, driver: str = "psycopg2") -> dict[str, str]:
    return environment(rds) | {"DATABASE_URL": rds.url.replace("asyncpg", driver)}


def test_flask_under_gunicorn_that_preloads(
    database: LocalRds, start: Start, output: Output
) -> None:
    """Imported and started once, forked twice: each worker gets ready, and serves."""
    server = start(
        *("-m", "gunicorn", "--chdir", EXAMPLES, "--preload", "--workers", "2", "--threads", "4"),
        *("--bind", "127.0.0.1:0", "--worker-tmp-dir", "/tmp", "flask_app:app"),
        env=sync_environment(database),
    )
    address = output.wait_for(r"Listening at: (http://\S+)", within=60)[1]
    workers = {
        output.wait_for("Booting worker with pid: ([0-9]+)", times=n, within=60)[1] for n in (1, 2)
    }
    ready: set[str] = set()
    end = time.monotonic() + 60
    while ready < workers:
        assert time.monotonic() < end, f"{output}"
        # A new connection each time, which either worker may take.
        with httpx.Client(base_url=address) as client:
            pid = str(client.get("/live").json()["pid"])
            if client.get("/ready").status_code == 200:
                ready.add(pid)
    with httpx.Client(base_url=address) as client:
        stored = client.post("/orders", json={"item": "tea", "quantity": 2})
        assert stored.status_code == 201, f"{output}"
        assert stored.json() == {"id": 1, "item": "tea", "quantity": 2}
        assert client.get("/orders").json() == [stored.json()]
    assert set(outcomes(database)) == {"accepted"}
    assert server.end(signal.SIGTERM) == 0
    assert "Traceback" not in str(output)
    assert "X-Amz-Signature" not in str(output)


def test_celery_with_the_prefork_pool(
    database: LocalRds, start: Start, output: Output, tmp_path: Path
) -> None:
    """Jobs of two pool processes are done, and the worker ends when it is told."""
    for name in ("queue", "done", "control"):
        (tmp_path / name).mkdir()
    config = tmp_path / "celeryconfig.py"
    options = {
        "data_folder_in": str(tmp_path / "queue"),
        "data_folder_out": str(tmp_path / "queue"),
        "processed_folder": str(tmp_path / "done"),
        "control_folder": str(tmp_path / "control"),
    }
    config.write_text(
        f"broker_url = 'filesystem://'\nbroker_transport_options = {options!r}\n"
        "broker_connection_retry_on_startup = True\n"
    )
    variables = sync_environment(database) | {
        "PYTHONPATH": os.pathsep.join((str(EXAMPLES), str(tmp_path))),
        "CELERY_CONFIG_MODULE": "celeryconfig",
    }
    worker = start(
        *("-m", "celery", "--app", "celery_app", "worker", "--concurrency", "2"),
        *("--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"),
        env=variables,
    )
    output.wait_for(r"celery@\S+ ready", within=60)
    send = "import celery_app\nfor n in range(6): celery_app.store_order.delay('tea', n + 1)"
    subprocess.run([sys.executable, "-c", send], env=variables, check=True, timeout=100)
    output.wait_for("order [0-9]+ stored by process", times=6, within=60)
    assert worker.end(signal.SIGTERM) == 0
    assert set(outcomes(database)) == {"accepted"}
    assert "X-Amz-Signature" not in str(output)


def alembic(rds: LocalRds, driver: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", EXAMPLES / "alembic/alembic.ini", *arguments],
        env=sync_environment(rds, driver),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg2"])
def test_alembic_migrates_by_command_line(database: LocalRds, driver: str) -> None:
    """Up and down again, logged in by token each time; and in SQL without connecting."""
    database.execute("DROP TABLE IF EXISTS shipments, alembic_version")
    alembic(database, driver, "upgrade", "head")
    database.execute("INSERT INTO shipments (carrier) VALUES ('post')")
    assert "0001" in alembic(database, driver, "current")
    alembic(database, driver, "downgrade", "base")
    assert outcomes(database) == {"accepted": 3}
    assert "CREATE TABLE shipments" in alembic(database, driver, "upgrade", "head", "--sql")
    assert outcomes(database) == {"accepted": 3}
