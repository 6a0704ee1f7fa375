"""Run a command against a local RDS, with no AWS account: same code, real tokens, real TLS.

For trying the examples. It starts `LocalRds`, makes their tables and gives the command
the environment that it would have on AWS.

Run it:
    pip install 'rds-iam-async[local]'
    python examples/run_locally.py python examples/asyncpg_pool.py
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from rds_iam_async.testing import LocalRds

SCHEMA = Path(__file__).with_name("schema.sql")


def let_be(number: int, frame: FrameType | None) -> None:
    """Do nothing. SIG_IGN would be inherited by the command."""


def main(command: list[str]) -> int:
    with LocalRds() as rds:
        rds.execute(f"SET ROLE {rds.user}; {SCHEMA.read_text()}")
        rds.execute("INSERT INTO jobs (recipient) VALUES ('ada@example.com'), ('nobody')")
        environment = {
            **os.environ,
            **rds.environment,
            "DATABASE_URL": rds.url,
            "PGHOST": rds.host,
            "PGPORT": str(rds.port),
            "PGUSER": rds.user,
            "PGDATABASE": rds.database,
        }
        # Ctrl-C reaches the command as well: wait for it to end in its own way.
        signal.signal(signal.SIGINT, let_be)
        return subprocess.call(command, env=environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
