"""The Lambda example between two invocations: frozen past the end of its token and its keys."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rds_iam_async.testing import LocalAws, LocalRds

EXAMPLES = Path(__file__).parents[2] / "examples"

RUNTIME = """
import json, sys
from lambda_handler import handler
for line in sys.stdin:
    print(json.dumps(handler(json.loads(line), None)), flush=True)
"""
"""What Lambda's own runtime does: ask for an event, call the handler, answer."""


class Function:
    """A function instance of Lambda, as those see it who invoke and freeze it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def invoke(self) -> dict[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("{}\n")
        self._process.stdin.flush()
        answer: dict[str, int] = json.loads(self._process.stdout.readline())
        return answer

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def function(rds: LocalRds, aws: LocalAws) -> Iterator[Function]:
    rds.execute("DROP TABLE IF EXISTS orders, jobs")
    rds.execute(f"SET ROLE {rds.user}; {(EXAMPLES / 'schema.sql').read_text()}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-c", RUNTIME],
        cwd=EXAMPLES,
        env=clean
        | aws.environment("container")
        | {"DATABASE_URL": rds.url, "AWS_REGION": rds.region},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield Function(process)
    process.kill()
    process.communicate()


def test_an_invocation_after_a_freeze_past_expiry_succeeds(
    function: Function, rds: LocalRds, aws: LocalAws
) -> None:
    """L7, L12: the dead token is not sent; the connection waits for one of fresh keys."""
    aws.lifetime = 5  # less what a busy machine takes from the fetch to the login
    assert function.invoke() == {"jobs_waiting": 0}
    (first,) = list(rds.log)
    function.freeze()
    aws.lifetime = 3600
    rds.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app'"
    )
    ends_at = aws.issued[-1].expires_at
    assert ends_at is not None
    time.sleep(max(0.0, ends_at - time.time()) + 0.2)
    function.thaw()
    assert function.invoke() == {"jobs_waiting": 0}
    assert [login.outcome for login in rds.log] == ["accepted", "accepted"]
    assert list(rds.log)[1].access_key_id != first.access_key_id


def test_invocations_without_a_freeze_share_one_connection(
    function: Function, rds: LocalRds, aws: LocalAws
) -> None:
    """Nothing is fetched or signed for those after the first."""
    for _ in range(5):
        assert function.invoke() == {"jobs_waiting": 0}
    assert len(list(rds.log)) == 1
    assert len(aws.calls) == 1
