"""Where the time of an import goes, by who is to blame: from `python -X importtime`."""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterable

_LINE = re.compile(r"import time:\s+(?P<self>\d+) \|\s+\d+ \| +(?P<module>\S+)")
STANDARD = "the standard library"

Profile = dict[str, tuple[int, float]]
"""By package: how many modules, and their own time in milliseconds."""


def profile_of(report: str, *, but: Iterable[str] = ()) -> Profile:
    """Return what each package took by itself, without what it imported.

    Args:
        report: What `-X importtime` wrote.
        but: Modules that had been imported before; what they are is not counted.
    """
    known, found = set(but), dict[str, tuple[int, float]]()
    for line in _LINE.finditer(report):
        if line["module"] not in known:
            package = package_of(line["module"])
            modules, ms = found.get(package, (0, 0.0))
            found[package] = (modules + 1, ms + int(line["self"]) / 1e3)
    return found


def modules_of(report: str) -> set[str]:
    """Return all modules that a report names."""
    return {line["module"] for line in _LINE.finditer(report)}


def package_of(module: str) -> str:
    """Return the package that a module belongs to; all of Python's own are one."""
    package = module.partition(".")[0]
    return STANDARD if package in sys.stdlib_module_names else package


def median_profile(profiles: list[Profile]) -> Profile:
    """Return each package's median, the greatest first."""
    names = {name for profile in profiles for name in profile}
    medians = {
        name: (
            max(profile.get(name, (0, 0.0))[0] for profile in profiles),
            statistics.median(profile.get(name, (0, 0.0))[1] for profile in profiles),
        )
        for name in names
    }
    return dict(sorted(medians.items(), key=lambda item: -item[1][1]))
