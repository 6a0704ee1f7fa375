"""Virtual environments for what does not go into ours: made once, kept in `.envs`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ENVIRONMENTS = Path(__file__).parents[1] / ".envs"


def python_with(name: str, requirements: tuple[str, ...]) -> str:
    """Return the Python of an environment that has *requirements*, and nothing else.

    Args:
        name: Of the environment.
        requirements: As for pip. None: the environment that we run in.

    Raises:
        subprocess.CalledProcessError: When they cannot be installed.
    """
    if not requirements:
        return sys.executable
    environment = ENVIRONMENTS / f"bench-{name}"
    python, installed = environment / "bin" / "python", environment / ".requirements"
    wanted = "\n".join((sys.version, *requirements))
    if not installed.exists() or installed.read_text() != wanted:
        uv = _uv()
        run = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)]
        subprocess.run(run, check=True)
        run = [uv, "pip", "install", "--quiet", "--python", str(python), *requirements]
        subprocess.run(run, check=True, env=os.environ | {"UV_COMPILE_BYTECODE": "1"})
        installed.write_text(wanted)
    return str(python)


def _uv() -> str:
    beside = Path(sys.executable).parent
    found = shutil.which("uv", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        raise SystemExit("uv is not installed: pip install uv")
    return found
