"""Tables of `loop_stall` in Markdown, for the documentation: no figure is typed by hand."""

from __future__ import annotations

from typing import Any

from _percentiles import percentile

STALL_TARGET = 2.0
LEAST = 0.5
SHOWN = 8
ENOUGH = 100
"""Values that have a 99th percentile: of fewer it would be the worst, by another name."""
PROFILED = "late ticks | in sum | the worst"


def stall_tables(found: dict[str, Any]) -> list[str]:
    """Return a table of the looks by themselves, one of everybody, and the profile."""
    return [
        *looks_table(found["looks"]),
        "",
        collections_of(found["looks"]),
        "",
        *beside_table(found),
        "",
        *profile_table(found),
    ]


def looks_table(looks: dict[str, Any]) -> list[str]:
    heads = "idle | mint | renewal | switch interval 0.5 ms | after `gc.freeze()` | on the loop"
    lines = [f"| keys from | {heads} | target |", "|---" * 8 + "|"]
    for provider, ways in looks.items():
        renewals = ways["ours"]["renewals"]
        cells = [
            ways["ours"]["idle"],
            ways["minting"]["mints"],
            renewals,
            *(ways[way]["renewals"] for way in ("switching", "frozen", "on_the_loop")),
        ]
        said = " | ".join(spread_of(values) for values in cells)
        met = "met" if percentile(renewals, 99) <= STALL_TARGET else "missed"
        lines.append(f"| {provider} | {said} | {met} |")
    return lines


def collections_of(looks: dict[str, Any]) -> str:
    """Say what full garbage collections take."""
    frozen = [ways["frozen"] for ways in looks.values()]
    before = percentile([ms for one in frozen for ms in one["collection"]], 50)
    after = percentile([ms for one in frozen for ms in one["collection_when_frozen"]], 50)
    first = percentile([ms for ways in looks.values() for ms in ways["ours"]["first"]], 50)
    return (
        f"The first look stalls the loop for {first:.0f} ms. A full garbage collection after "
        f"`start()` takes {before:.0f} ms, and one after `gc.freeze()` {after:.1f} ms."
    )


def beside_table(found: dict[str, Any]) -> list[str]:
    """Return everybody's stalls by provider, and why some have none."""
    beside, titles = found["beside"], found["contenders"]
    lines = [f"| | {' | '.join(beside)} |", "|---" * (1 + len(beside)) + "|"]
    for one, title in titles.items():
        cells = [by_contender.get(one, "") for by_contender in beside.values()]
        said = ["fails" if isinstance(values, str) else spread_of(values) for values in cells]
        lines.append(f"| {title} | {' | '.join(said)} |")
    for provider, by_contender in beside.items():
        for one, why in by_contender.items():
            if isinstance(why, str):
                lines += ["", f"{titles[one]} fails with {provider}: `{why.replace('`', '')}`."]
    return lines


def profile_table(found: dict[str, Any]) -> list[str]:
    """Return what looks did while the loop was late, what cost most first."""
    lines = [f"| keys from | what the look did | where, mostly | {PROFILED} |", "|---" * 6 + "|"]
    for provider, waited in found["profile"].items():
        for what, noted in list(waited.items())[:SHOWN]:
            figures = f"{noted['ticks']} | {noted['ms']:.0f} ms | {noted['worst']:.1f} ms"
            lines.append(f"| {provider} | {what} | `{noted['place']}` | {figures} |")
    return [*lines, "", f"In {found['profiled']} renewals each."]


def stall_of(values: list[float] | str) -> tuple[float, float, float, str]:
    if isinstance(values, str):
        nothing = float("nan")
        return nothing, nothing, nothing, "fails"
    # What is late by less is not noted, and a logarithmic axis knows no 0.
    p50, p99, worst = (max(LEAST, value) for value in (*percentiles(values), max(values)))
    return p50, p99, worst, ""


def spread_of(values: list[float]) -> str:
    """Return the median, and the 99th percentile where there is one: the worst of how many."""
    p50, p99 = percentiles(values)
    if len(values) >= ENOUGH:
        return f"{p50:.1f} / {p99:.1f}"
    return f"{p50:.1f} / {max(values):.1f} of {len(values)}"


def percentiles(values: list[float]) -> tuple[float, float]:
    return percentile(values, 50), percentile(values, 99)
