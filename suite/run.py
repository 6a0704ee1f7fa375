"""Runs SQLAlchemy's dialect suite without and with the refresher, and compares test by test.

    python suite/run.py DRIVER PYTHON [PYTHON …]

For each PYTHON, an interpreter with one SQLAlchemy, two runs side by side: each has a local
RDS of its own, and the same user there, who once has a password and once gets IAM tokens.
The exit status is 1 where the results differ, or prove nothing.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from rds_iam_async.testing import LocalRds

HERE = Path(__file__).parent
LOGS = HERE.parent / ".envs" / "suite-logs"
DATABASE_URL = {
    "asyncpg": "postgresql+asyncpg://",
    "psycopg": "postgresql+psycopg_async://",
}
# The suite wants the two schemas. Its user may only read unless the connection says
# otherwise, which those of conftest.py do by connect_args.
PREPARE = """
    ALTER DATABASE app OWNER TO tester;
    ALTER ROLE tester SET default_transaction_read_only = on;
    CREATE SCHEMA test_schema AUTHORIZATION tester;
    CREATE SCHEMA test_schema_2 AUTHORIZATION tester;
"""
LONGEST = 1800
"""When a run is taken to hang, in seconds: a busy machine needs a sixth of this."""

Result = tuple[str, str]
"""The outcome of one test, and the first line of why."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run of the suite came to.

    Attributes:
        results: By the test's class and name.
        logins: How many connections got in by a token.
        denied: How many did not.
        tokens: How many were minted.
    """

    results: Mapping[str, Result]
    logins: int
    denied: int
    tokens: int

    def count(self, outcome: str) -> int:
        """Return the number of tests with this outcome."""
        return Counter(result[0] for result in self.results.values())[outcome]


def run_suite(python: str, version: str, driver: str, *, attached: bool) -> Run:
    """Run it all once.

    Raises:
        RuntimeError: When pytest did not get as far as the tests.
    """
    name = f"{version}-{driver}-{'with' if attached else 'without'}"
    report, log, status = (LOGS / f"{name}.{kind}" for kind in ("xml", "log", "json"))
    for path in (report, status):
        path.unlink(missing_ok=True)
    password = None if attached else "static"
    with LocalRds(token_lifetime=10) as rds, log.open("w") as output:
        rds.create_user("tester", password=password)
        for statement in filter(str.strip, PREPARE.split(";")):
            rds.execute(statement)
        user = "tester" if attached else f"tester:{password}"
        address = f"{DATABASE_URL[driver]}{user}@{rds.host}:{rds.port}/{rds.database}"
        command = [python, "-m", "pytest", "--dburi", address, f"--junitxml={report}"]
        finished = subprocess.run(
            command + ["-p", "attached"] * attached,
            cwd=HERE,
            env=os.environ
            | rds.environment
            | {
                "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": rds.ca_file,
                "SUITE_STATUS": str(status),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=LONGEST,
        )
        outcomes = Counter(login.outcome for login in rds.log if login.user == "tester")
    if finished.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {finished.returncode}; read {log}")
    tokens = 0
    if attached:
        tokens = sum(item["mints"] for item in json.loads(status.read_text())["endpoints"])
    accepted = outcomes.pop("accepted", 0)
    return Run(
        results=dict(results_in(report)),
        logins=accepted,
        denied=outcomes.total(),
        tokens=tokens,
    )


def results_in(report: Path) -> Iterator[tuple[str, Result]]:
    """Yield each test in a JUnit report with its result."""
    for case in ElementTree.parse(report).iter("testcase"):
        outcome, why = "passed", ""
        for child in case:
            if child.tag in ("failure", "error", "skipped"):
                outcome, why = child.tag, (child.get("message") or "").partition("\n")[0]
        yield f"{case.get('classname')}::{case.get('name')}", (outcome, why)


def differences(without: Run, with_: Run) -> Iterator[str]:
    """Yield a line for each test whose result is not the same."""
    nothing = ("not run", "")
    for test in sorted(without.results.keys() | with_.results.keys()):
        before = without.results.get(test, nothing)
        after = with_.results.get(test, nothing)
        if before != after:
            yield f"{test}: without {': '.join(before)} | with {': '.join(after)}"


def emptiness(without: Run, with_: Run) -> Iterator[str]:
    """Yield what would make an equal result worthless."""
    for run in (without, with_):
        if run.count("passed") < 1000:
            yield f"only {run.count('passed')} tests passed"
    if without.logins:
        yield f"{without.logins} connections without the refresher had a token"
    if with_.tokens < 3:
        yield f"{with_.tokens} tokens were used: none of them was replaced"
    if with_.logins < 10 or with_.denied:
        yield f"{with_.logins} connections got in by a token, {with_.denied} did not"


def compare(python: str, driver: str) -> bool:
    """Run and print one SQLAlchemy's half of the table; tell whether all is well."""
    version = subprocess.run(
        [python, "-c", "import sqlalchemy; print(sqlalchemy.__version__)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    try:
        with ThreadPoolExecutor() as pool:
            without, with_ = pool.map(
                lambda attached: run_suite(python, version, driver, attached=attached),
                (False, True),
            )
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"{version:<12}  FAILED {error}")
        return False
    for name, run in (("without", without), ("with", with_)):
        counts = [run.count(outcome) for outcome in ("passed", "skipped", "failure", "error")]
        print(ROW.format(version, name, *counts, run.logins, run.tokens))
    found = [*differences(without, with_), *emptiness(without, with_)]
    for line in found:
        print(f"  FAILED {line}")
    if not found:
        for test, (outcome, why) in without.results.items():
            if outcome in ("failure", "error"):
                print(f"  both {outcome} {test}: {why}")
        print(f"  no differences in {len(without.results)} tests")
    return not found


ROW = "{:<12}{:<9}{:>7}{:>9}{:>8}{:>7}{:>14}{:>8}"


def main(driver: str, *pythons: str) -> int:
    """Compare on each Python and return the exit status."""
    LOGS.mkdir(parents=True, exist_ok=True)
    heads = ("refresher", "passed", "skipped", "failed", "errors", "token logins", "tokens")
    print(ROW.format("SQLAlchemy", *heads))
    good = [compare(str(Path(python).absolute()), driver) for python in pythons]
    print(f"logs: {LOGS}")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
