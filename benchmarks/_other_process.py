"""The local RDS and AWS in a process of their own, so that their work is not taken for ours.

In one process they would share the interpreter lock, and the two cores, with what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any, Self

from rds_iam_async.testing import LocalAws, LocalRds


class Elsewhere:
    """A local RDS and a local AWS that it trusts; obeys from afar."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
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

    def set(self, *, lifetime: float, delay: float = 0.0) -> None:
        """Let keys live so long from now on, and answers take so long; forget past calls."""
        self._ask(lifetime=lifetime, delay=delay)

    def state(self) -> tuple[int, float]:
        """Return how many calls there were since `set`, and when the latest keys end."""
        answer = self._ask()
        return answer["calls"], answer["end"]

    def _ask(self, **settings: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(settings) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def main() -> None:
    with LocalRds() as rds, LocalAws(rds, lifetime=3.0) as aws:
        environments = {provider: aws.environment(provider) for provider in aws.PROVIDERS}
        print(json.dumps({"url": rds.url, "environments": environments}), flush=True)
        for line in sys.stdin:
            if settings := json.loads(line):
                aws.lifetime, aws.delay = settings["lifetime"], settings["delay"]
                aws.calls.clear()
            answer = {"calls": len(aws.calls), "end": aws.issued[-1].expires_at}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
