"""What was promised, and whether what was measured keeps it."""

from __future__ import annotations

from typing import Any

from _line import FROM
from _startup_ways import NAMES_ALONE

HOT_PATH = {"above": 1e-6, "times_cheaper": 100.0}
"""Seconds above a constant password at most; times cheaper than signing at least."""
STARTUP = {"import_ms_above_floor": 15.0, "first_token_share": 1 / 3}
SIZE = {"stall_ms": 5.0, "times_pure_signing": 1.3, "bytes_per_endpoint": 3 * 1024}
FLEET = 3.0
"""Times the mean rate that the busiest second sees at most."""

Row = tuple[str, str, str, str]
"""What is promised, the target, what was measured, and whether that keeps it."""


def verdict(*, met: bool) -> str:
    return "met" if met else "missed"


def of_hot_path(found: dict[str, Any]) -> list[Row]:
    above, times = found["above"], found["times_cheaper"]
    most, least = HOT_PATH["above"], HOT_PATH["times_cheaper"]
    return [
        (
            "above the constant password",
            f"at most {most * 1e9:,.0f} ns",
            f"{above * 1e9:,.0f} ns",
            verdict(met=above <= most),
        ),
        (
            "times cheaper than signing with a client that is kept",
            f"at least {least:.0f}",
            f"{times:.0f}",
            verdict(met=times >= least),
        ),
    ]


def of_startup(found: dict[str, Any]) -> list[Row]:
    most, share = STARTUP["import_ms_above_floor"], STARTUP["first_token_share"]
    imports = {
        "`import rds_iam_async` alone": found["import"][NAMES_ALONE]["ms"],
        "import, with an engine attached": found["import_above"],
    }
    return [
        *(
            (name, f"at most {most:.0f} ms", f"{ms:.1f} ms", verdict(met=ms <= most))
            for name, ms in imports.items()
        ),
        *(
            (
                f"{name}, keys from {provider}: of the RDS client's",
                f"at most {share:.0%}",
                f"{one:.0%}",
                verdict(met=one <= share),
            )
            for provider, shares in found["token_share"].items()
            for name, one in shares.items()
        ),
    ]


def of_size(found: dict[str, Any]) -> list[Row]:
    """Judge the worst of the sizes that are not mostly what all endpoints share."""
    many = [one for one in found["sizes"] if one["size"] >= FROM]
    most_turn = max(one["most_without_collector_ms"] for one in found["turns"])
    measured = (
        ("CPU of a cycle, times pure signing", "times_pure_signing", "{:.2f}"),
        ("bytes for each endpoint", "bytes_per_endpoint", "{:,.0f}"),
        ("most work at a time, garbage collector included", "stall_ms", "{:.1f} ms"),
        ("most in one turn, without the garbage collector", "stall_ms", "{:.1f} ms"),
    )
    values = (
        max(one["times_pure_signing"] for one in many),
        max(one["bytes_per_endpoint"] for one in many),
        max(one["most_work_ms"] for one in many),
        most_turn,
    )
    return [
        (
            what,
            f"at most {form.format(SIZE[target])}",
            form.format(value),
            verdict(met=value <= SIZE[target]),
        )
        for (what, target, form), value in zip(measured, values, strict=True)
    ]


def of_fleet(found: dict[str, Any]) -> list[Row]:
    """Judge the fleets that are spread."""
    return [
        (
            f"started within {one['rollout']:g} s, STS down for {one['outage'] // 60} min",
            f"at most × {FLEET:g}",
            f"× {one['calls']['worst_ratio']:.1f}",
            verdict(met=one["calls"]["worst_ratio"] <= FLEET),
        )
        for one in found["scenarios"]
        if one["spread"] > 0
    ]
