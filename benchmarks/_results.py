"""Where results are kept, and on which machine, with what, they were measured."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rds_iam_async.testing._binaries import find_binaries

HERE = Path(__file__).parent / "results"
PLOTS = Path(__file__).parents[1] / "docs" / "explanation" / "plots"
DEPENDED_ON = ("SQLAlchemy", "asyncpg", "botocore")


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "cpu": cpu(),
        "versions": {name: version(name) for name in DEPENDED_ON} | {"PostgreSQL": postgresql()},
    }


def cpu() -> str:
    """Return the processor's name where Linux tells it, or else what Python knows of it."""
    told = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", told.read_text() if told.exists() else "", re.M)
    return names[0].strip() if names else platform.processor()


def postgresql() -> str:
    """Return the version of the server that the local RDS starts."""
    command = [str(find_binaries() / "postgres"), "--version"]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return said.split()[2]


def machine_line(told: dict[str, Any]) -> str:
    """Return in one sentence what `machine` told; results of old tell less."""
    versions = [f"{name} {number}" for name, number in told.get("versions", {}).items()]
    cores = " ".join(filter(None, (f"{told['cores']} cores", told.get("cpu"))))
    return ", ".join((f"Python {told['python']}", *versions, cores, told["system"])) + "."


def is_partial(parser: argparse.ArgumentParser, options: argparse.Namespace) -> bool:
    """Whether any option was given that changes what, or how much, is measured."""
    return options != parser.parse_args([])


def write(name: str, found: dict[str, Any], *, quick: bool) -> None:
    """Write `results/<name>.json`; a partial run is quick, and kept beside the full ones."""
    HERE.mkdir(exist_ok=True)
    path = HERE / ("quick" if quick else ".") / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), **found}, indent=1)
    # A list of numbers in one line: what is read by eye is around it.
    text = re.sub(r"\[[\d\s.,e-]+\]", lambda numbers: re.sub(r"\s+", " ", numbers[0]), text)
    path.write_text(text + "\n")


def read(name: str) -> dict[str, Any]:
    """Return what `write` wrote last, in full."""
    found: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text())
    return found
