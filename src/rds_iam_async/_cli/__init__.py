"""The command `rds-iam-async`: arguments in, one call, its result out. A file for each command."""

from __future__ import annotations

import sys

from ._install import INSTALL

try:
    from . import _ca_bundle, _demo, _doctor, _local, _token
    from ._root import app, main
except ModuleNotFoundError as missing:
    if missing.name not in ("typer", "rich"):
        raise
    # Only the command itself imports this package, so there is nobody to catch it.
    sys.stderr.write(f"rds-iam-async: {missing.name} is not installed: {INSTALL}\n")
    raise SystemExit(2) from None

__all__ = ["_ca_bundle", "_demo", "_doctor", "_local", "_token", "app", "main"]
