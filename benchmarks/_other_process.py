"""The local RDS and AWS in a process of their own, so that their work is not taken for ours.

In one process they would share the interpreter lock, and the two cores, with what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any, Self

from rds_iam_async import Credentials
from rds_iam_async._mint import mint
from rds_iam_async.testing import LocalAws, LocalRds
from rds_iam_async.testing._issuer import Issuer

DAY = 86400.0
LOGINS = 2000
"""The latest, of both processes, that are told of: more than any scenario has."""


class Elsewhere:
    """A local RDS and a local AWS that it trusts; obeys from afar.

    Attributes:
        url: The local RDS's.
    """

    def __init__(self, *, host: str = "localhost") -> None:
        """Start both.

        Args:
            host: The name that the local RDS goes by; on loopback it is, whatever its name.
        """
        self._process = subprocess.Popen(
            [sys.executable, __file__, host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = self._answer()
        self.url: str = told["url"]
        self._environments: dict[str, dict[str, str]] = told["environments"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def environment(self, provider: str) -> dict[str, str]:
        """Return a whole environment in which the AWS chain finds *provider*, and no other."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return clean | self._environments[provider]

    def set(self, *, lifetime: float, delay: float = 0.0, failure: str | None = None) -> None:
        """Let keys live so long from now on, and answers take so long; forget past calls."""
        self._ask(lifetime=lifetime, delay=delay, failure=failure)

    def revoke(self) -> None:
        """Revoke all role sessions issued so far."""
        self._ask(revoke=True)

    def create_user(self, name: str, password: str) -> None:
        """Create a user whose password PostgreSQL itself asks for."""
        self._ask(user=name, password=password)

    def static_password(self) -> str:
        """Return what the gate takes from now on for 15 minutes, whatever becomes of keys."""
        told: str = self._ask(mint=True)["token"]
        return told

    def state(self) -> tuple[int, float]:
        """Return how many calls there were since `set`, and when the latest keys end."""
        answer = self._ask()
        return len(answer["calls"]), answer["end"]

    def logins(self) -> list[tuple[float, str]]:
        """Return the gate's latest logins: when, in Unix seconds, and what became of each."""
        told = self._ask(logins=True)["logins"]
        return [(at, outcome) for at, outcome in told]

    def calls(self) -> list[float]:
        """Return when there were calls since `set`, in Unix seconds."""
        at: list[float] = self._ask()["calls"]
        return at

    def _ask(self, **settings: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(settings) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def main(host: str) -> None:
    with LocalRds(host=host) as rds, LocalAws(rds, lifetime=3.0) as aws:
        # Keys of a role session, for a constant password as long as what others send; by an
        # issuer of its own, whose sessions nobody revokes.
        constant = Issuer(rds, lifetime=DAY).new_session()
        environments = {provider: aws.environment(provider) for provider in aws.PROVIDERS}
        print(json.dumps({"url": rds.url, "environments": environments}), flush=True)
        for line in sys.stdin:
            print(json.dumps(obey(json.loads(line), rds, aws, constant)), flush=True)


def obey(
    told: dict[str, Any], rds: LocalRds, aws: LocalAws, constant: Credentials
) -> dict[str, Any]:
    """Do as *told*, and say how things stand."""
    if "lifetime" in told:
        aws.lifetime, aws.delay, aws.failure = told["lifetime"], told["delay"], told["failure"]
        aws.calls.clear()
    if "revoke" in told:
        aws.revoke()
    if "user" in told:
        rds.create_user(told["user"], password=told["password"])
    answer: dict[str, Any] = {
        "calls": [call.at for call in aws.calls],
        "end": aws.issued[-1].expires_at,
    }
    if "logins" in told:
        answer["logins"] = [(login.at, login.outcome) for login in list(rds.log)[-LOGINS:]]
    if "mint" in told:
        token = mint(rds.endpoint, constant, now=time.time())
        answer["token"] = token.password.encode().decode()
    return answer


if __name__ == "__main__":
    main(sys.argv[1])
