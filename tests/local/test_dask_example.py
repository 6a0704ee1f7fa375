"""The Dask example does what it says, on a cluster of real worker processes that come and go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rds_iam_async.testing import LocalRds

from .test_examples import (
    EXAMPLES,
    NOBODY_STAYS,
    Output,
    ShortLivedKeys,
    Start,
    database,
    output,
    start,
)
from .workload import outcomes

__all__ = ["database", "output", "start"]  # fixtures

LONGEST = 120
"""Seconds that it may take on a busy machine; about ten on an idle one."""

pytestmark = [pytest.mark.timeout(LONGEST + 30), pytest.mark.usefixtures("start")]

PROGRAM = Path(__file__).with_name("dask_program.py")

LIFETIME = 4
"""Seconds that keys live, and with them tokens."""

TOTALS = {"milk": 10001, "tea": 9999, "rum": 9998}


class Said:
    """What the program has said, by what it is about."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def all(self, what: str) -> list[Any]:
        lines = [line for line in self._output.lines if line.startswith(f"{what}: ")]
        return [json.loads(line.partition(": ")[2]) for line in lines]

    def facts(self, what: str) -> dict[int, dict[str, Any]]:
        (workers,) = self.all(what)
        return {worker["pid"]: worker for worker in workers}


def test_each_worker_process_logs_in_by_itself(
    database: LocalRds, start: Start, output: Output, tmp_path: Path
) -> None:
    """The totals are the database's own, while tokens rotate, sessions end, and a worker process is
    killed whose successor finds no keys; no login fails, nothing is left, no token was shown.
    """
    database.execute(
        "INSERT INTO orders (item, quantity) SELECT (ARRAY['tea', 'milk', 'rum'])[1 + n % 3], n % 7"
        " FROM generate_series(1, 10000) AS n"
    )
    database.token_lifetime = LIFETIME + 2  # what is sent at the last has time to get there
    keys = ShortLivedKeys(tmp_path, database, lifetime=LIFETIME)
    url = database.url.replace("asyncpg", "psycopg")
    variables = {"DATABASE_URL": url, "PYTHONPATH": str(EXAMPLES), "KEYS": str(keys.program)}
    cluster = start("-W", "error", PROGRAM, env=keys.environment | variables)
    assert cluster.wait(LONGEST) == 0, f"{output}"
    said = Said(output)

    assert [said.all(item) for item in TOTALS] == [[total] for total in TOTALS.values()]
    first = said.facts("first")
    assert len(first) == 2
    assert all(worker["ready"] for worker in first.values())
    rotated = said.facts("rotated")
    assert rotated.keys() == first.keys()
    # Minted ahead of need, or nobody would have: no task wants a connection meanwhile.
    assert all(worker["mints"] > worker["cold"] for worker in rotated.values())
    assert said.all("hung up")[0] > 0

    (new,) = said.all("new")
    assert new not in first
    assert said.facts("without keys")[new]["ready"] is False
    assert "no token yet, tasks will wait for one" in str(output)
    assert said.facts("with keys")[new]["mints"] > 0
    assert said.all("totals") == [TOTALS, TOTALS]

    assert set(outcomes(database)) == {"accepted"}
    database.execute(NOBODY_STAYS)
    for word in ("Traceback", "X-Amz-Signature", *keys.secrets):
        assert word not in str(output), f"{output}"
