"""The contenders, and how to speak to one: a process in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from _environments import python_with

HERE = Path(__file__).parent / "contenders"
LEAD = 0.1
"""Seconds from the order to connect to the first connection: for the order to arrive."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of connecting with IAM, or without.

    Attributes:
        name: Of its figures.
        title: What a reader calls it.
        program: Its file in `contenders`, where that has another name.
        control: The static password to compare it with: that of its driver.
        requirements: What it needs that our environment does not have.
        sole: The only scenario that it takes part in.
        absent: Scenarios that it takes no part in.
    """

    name: str
    title: str
    program: str = ""
    control: str = "static"
    requirements: tuple[str, ...] = ()
    sole: str | None = None
    absent: tuple[str, ...] = ()


def _ours(*packages: str) -> tuple[str, ...]:
    """Require the very releases that the others run with."""
    return tuple(f"{package}=={version(package)}" for package in packages)


def contenders() -> dict[str, Contender]:
    """Return them all, by name."""
    here = (
        Contender(name="static", title="static password, once more"),
        Contender(name="scram", title="static password, SCRAM", absent=("fast",)),
        Contender(name="static_psycopg", title="static password (psycopg)", absent=("fast",)),
        Contender(name="ours", title="rds_iam_async"),
        Contender(
            name="ours_psycopg",
            title="rds_iam_async (psycopg)",
            control="static_psycopg",
            # Of the three in which keys end, the hardest: they differ by AWS, not by driver.
            absent=("expiring", "slow"),
        ),
        Contender(name="ttl_cache", title="a cache for 10 min"),
        Contender(name="per_connect", title="signing per connect (boto3)"),
        Contender(name="naive_aioboto3", title="a client per connect (aioboto3)"),
    )
    return {one.name: one for one in (*here, *_packages())}


def _packages() -> tuple[Contender, ...]:
    """Return what others have published, each with what its README asks for."""
    asyncpg = ("greenlet", *_ours("sqlalchemy", "asyncpg"))
    rdsiam = ("sqlalchemy-rdsiam==1.0.3", *asyncpg)
    plugin = ("sqlalchemy-rds-iam-auth-plugin==0.1.0", *asyncpg)
    wrapper = ("aws-advanced-python-wrapper==3.1.0", *_ours("psycopg", "psycopg-binary"))
    return (
        Contender(name="package_rdsiam", title="sqlalchemy-rdsiam 1.0.3", requirements=rdsiam),
        Contender(
            name="package_auth_plugin",
            title="sqlalchemy-rds-iam-auth-plugin 0.1.0",
            requirements=plugin,
        ),
        Contender(
            name="package_aws_wrapper",
            title="aws-advanced-python-wrapper 3.1.0 (psycopg, SQLAlchemy 2.0)",
            control="static_psycopg",
            requirements=(*wrapper, "sqlalchemy[asyncio]==2.0.*"),
        ),
        # What does not work is measured, too: another release may.
        Contender(
            name="package_auth_plugin_ssl_ca",
            title="sqlalchemy-rds-iam-auth-plugin 0.1.0 with its own `ssl_ca`",
            requirements=plugin,
            sole="steady",
        ),
        Contender(
            name="package_aws_wrapper_newest",
            title="aws-advanced-python-wrapper 3.1.0 with SQLAlchemy 2.1",
            program="package_aws_wrapper",
            control="static_psycopg",
            requirements=(*wrapper, "sqlalchemy[asyncio]==2.1.*"),
            sole="steady",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One connection.

    Attributes:
        due: When somebody wanted it, by the machine's monotonic clock.
        took: Seconds from then until it had answered `select 1`, or failed.
        error: What went wrong.
    """

    due: float
    took: float
    error: str | None


@dataclass
class Poured:
    """What became of an order.

    Attributes:
        outcomes: Of each connection.
        cpu: Seconds of CPU that the contender's process spent on it.
        late: If it was to watch: when the loop's ticker was late (Unix seconds), and how much.
        events: What the contender told of itself: what, and when by the monotonic clock.
    """

    outcomes: list[Outcome]
    cpu: float
    late: list[tuple[float, float]]
    events: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])

    def kept(self, wanted: Sequence[bool]) -> Poured:
        """Return the same with only those that are wanted; CPU in proportion."""
        kept = [one for one, keep in zip(self.outcomes, wanted, strict=True) if keep]
        return replace(self, outcomes=kept, cpu=self.cpu * len(kept) / len(self.outcomes))


class BrokenError(Exception):
    """A contender does not connect at all; its words say why."""


class Running:
    """A contender's process, from its start to its end."""

    def __init__(self, contender: Contender, environment: Mapping[str, str]) -> None:
        """Start it; `ready` waits for it."""
        self._process = subprocess.Popen(
            [
                python_with(contender.name, contender.requirements),
                HERE / f"{contender.program or contender.name}.py",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def ready(self) -> None:
        """Wait until it has connected a few times.

        Raises:
            BrokenError: When it could not.
        """
        told = self._answer()
        if "broken" in told:
            raise BrokenError(told["broken"])
        for _, _, error in told["warm_up"]:
            if error is not None:
                raise BrokenError(error)

    def order(self, at: Sequence[float], *, watch: bool = False) -> None:
        """Tell it when to connect; `obeyed` fetches what became of that."""
        told = {"at": at, "watch": watch}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()

    def obeyed(self) -> Poured:
        """Return what became of the last order, once it has."""
        told = self._answer()
        outcomes = [
            Outcome(due=due, took=took, error=error) for due, took, error in told["outcomes"]
        ]
        return Poured(
            outcomes,
            told["cpu"],
            late=[(at, by) for at, by in told["late"]],
            events=[(what, at) for what, at in told["events"]],
        )

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BrokenError(f"ended by itself, with status {self._process.wait(10)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def soon() -> float:
    """Return an instant, by the monotonic clock, that an order reaches a contender before."""
    return time.monotonic() + LEAD
