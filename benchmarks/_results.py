"""Where results are kept, and on which machine they were measured."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "results"
PLOTS = Path(__file__).parents[1] / "docs" / "explanation" / "plots"


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def write(name: str, found: dict[str, Any], *, quick: bool) -> None:
    """Write `results/<name>.json`; a quick run is for a look, and kept beside the real ones."""
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
