"""Tables of the results in Markdown, which the documentation includes: no figure is typed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import _targets
from _line import lines
from _results import HERE, machine_line, read


def write_table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write `results/<name>.md`."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    (HERE / f"{name}.md").write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))


def duration(seconds: float) -> str:
    """Return it in the unit in which it reads best."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def write_targets(name: str, rows: Iterable[_targets.Row]) -> None:
    write_table(f"{name}_targets", ("", "target", "measured", ""), rows)


def machine() -> None:
    """Write what the benchmarks of one page ran on, each in one line if that differs."""
    on: dict[str, list[str]] = {}
    names = ("hot_path", "startup", "size", "herd", "gate")
    for name in (name for name in names if (HERE / f"{name}.json").exists()):
        on.setdefault(machine_line(read(name)["machine"]), []).append(name)
    several = len(on) > 1
    said = [f"{', '.join(names)}: {line}" if several else line for line, names in on.items()]
    (HERE / "machine.md").write_text("".join(f"{line}\n\n" for line in said).rstrip() + "\n")


def hot_path() -> None:
    found = read("hot_path")
    seconds = found["seconds"]
    floor = seconds["constant password"]
    write_table(
        "hot_path",
        ("what the listener does", "takes", "above the constant"),
        ((name, duration(one), duration(one - floor)) for name, one in seconds.items()),
    )
    write_targets("hot_path", _targets.of_hot_path(found))


def startup() -> None:
    found = read("startup")
    write_table(
        "startup_import",
        ("import of", "takes", "CPU", "memory"),
        (
            (name, f"{one['ms']:.1f} ms", f"{one['cpu_ms']:.1f} ms", f"{one['MiB']:.1f} MiB")
            for name, one in found["import"].items()
        ),
    )
    write_table(
        "startup",
        ("keys come from", "", "takes", "of the client's", "worst loop stall", "model of RDS"),
        (
            (
                provider,
                name,
                f"{one['ms']:.0f} ms",
                f"{shares[name]:.0%}" if name in shares else "",
                f"{one['stall_ms']:.0f} ms",
                "read" if one["rds_model_read"] else "not read",
            )
            for provider, shares in found["token_share"].items()
            for name, one in found[provider].items()
        ),
    )
    startup_profile(found["profiles"])
    write_targets("startup", _targets.of_startup(found))


def startup_profile(profiles: dict[str, dict[str, list[float]]], *, least: float = 2.0) -> None:
    """Write whose modules the imports execute, for how long; what takes little as one line."""
    names = list(dict.fromkeys(name for profile in profiles.values() for name in profile))
    time_of = {name: [p.get(name, (0, 0.0))[1] for p in profiles.values()] for name in names}
    great = sorted((n for n in names if max(time_of[n]) >= least), key=lambda n: -max(time_of[n]))
    small = [time_of[name] for name in names if name not in great]
    lines = {name: time_of[name] for name in great}
    lines["all others"] = [sum(column) for column in zip(*small, strict=True)] if small else []
    lines["together"] = [sum(column) for column in zip(*time_of.values(), strict=True)]
    write_table(
        "startup_profile",
        ("modules of", *profiles),
        ((name, *(f"{ms:.1f} ms" for ms in times)) for name, times in lines.items() if times),
    )


def size() -> None:
    found = read("size")
    stalls = ("endpoints", "cycle", "times pure signing", "worst stall of a cycle: median / max")
    write_table(
        "size",
        (*stalls, "idle loop's", "most work at a time", "bytes each", "attach", "`status()`"),
        (
            (
                f"{one['size']:,}",
                duration(one["cycle"]),
                f"{one['times_pure_signing']:.2f}",
                median_and_max(one["stalls_ms"]),
                median_and_max(one["idle_ms"]),
                f"{one['most_work_ms']:.1f} ms",
                f"{one['bytes_per_endpoint']:,.0f}",
                duration(one["attach"]),
                duration(one["status"]),
            )
            for one in found["sizes"]
        ),
    )
    write_targets("size", _targets.of_size(found))


def median_and_max(ms: Sequence[float]) -> str:
    return f"{statistics.median(ms):.1f} / {max(ms):.1f} ms"


def size_line() -> None:
    names = {"cycle": "refresh cycle", "signing": "pure signing"}
    names |= {"status": "`status()`", "memory": "memory"}
    write_table(
        "size_line",
        ("from 100 endpoints on", "one more costs", "furthest from that"),
        (
            (
                names.get(name, name),
                f"{one['slope']:,.0f} bytes" if name == "memory" else duration(one["slope"]),
                f"{one['deviation']:.0%}",
            )
            for name, one in lines(read("size")["sizes"]).items()
        ),
    )


def size_turns() -> None:
    found = read("size")
    write_table(
        "size_turns",
        (
            f"what befalls all {found['sizes'][-1]['size']:,} at once",
            "CPU",
            "most in one turn of the loop",
            "without the garbage collector",
        ),
        (
            (
                one["what"],
                f"{one['cpu_ms']:.0f} ms",
                f"{one['most_ms']:.1f} ms",
                f"{one['most_without_collector_ms']:.1f} ms",
            )
            for one in found["turns"]
        ),
    )


def gate() -> None:
    found = read("gate")["per_second"]
    floor, gates = found.values()
    write_table(
        "gate",
        ("per second", *found, "share"),
        (
            (what, f"{value:,.0f}", f"{gates[what]:,.0f}", f"{gates[what] / value:.0%}")
            for what, value in floor.items()
        ),
    )


def fleet() -> None:
    head = ("started within", "`spread`", "STS down for", "", "mean a second", "quiet")
    write_table(
        "fleet",
        (*head, "in the outage", "the hour after", "the first hour"),
        (
            (
                f"{one['rollout']:g} s",
                f"{one['spread']:g}",
                f"{one['outage'] // 60} min",
                {"calls": "calls of STS", "mints": "mints"}[what],
                f"{one[what]['mean']:.0f}",
                *(
                    f"× {one[what][peak] / one[what]['mean']:.1f}"
                    for peak in (
                        "quiet_peak",
                        "outage_peak",
                        "after_outage_peak",
                        "first_hour_peak",
                    )
                ),
            )
            for one in read("fleet")["scenarios"]
            for what in ("calls", "mints")
        ),
    )
    write_targets("fleet", _targets.of_fleet(read("fleet")))


def herd() -> None:
    found = read("herd")
    write_table(
        "herd",
        (f"{found['connects']} connects at once", "calls of AWS", "slowest", "token in hand"),
        (
            (
                name,
                f"{statistics.median(one['fetches'] for one in runs):.0f}",
                f"{statistics.median(one['slowest'] for one in runs):.2f} s"
                f" (… {max(one['slowest'] for one in runs):.2f})",
                f"{statistics.median(one['in_hand'] for one in runs):.2f} s",
            )
            for name, runs in found["runs"].items()
        ),
    )


ALL = (machine, hot_path, startup, size, size_line, size_turns, gate, fleet, herd)
