"""The figures in words. What is said follows from them, whichever way they turned out."""

from __future__ import annotations

from math import comb

from ._figures import Figures, Report

_CHANCE = 0.05
"""A difference that chance alone makes more often than this is called noise."""


def conclusion(report: Report) -> str:
    """Return two sentences on *report*: what ours did, and how the usual way compares."""
    return f"{_on_ours(report.ours)} {_on_usual(report.usual)}{_compared(report)}."


def _on_ours(ours: Figures) -> str:
    renewed = _counted(max(0, ours.minted - 1), "time")
    if ours.failures:
        fate = f"{ours.failures:,} of {_counted(ours.connects, 'connect')} failed"
    else:
        fate = f"Not one of {_counted(ours.connects, 'connect')} failed"
    waited = f"{ours.signed_on_connect_path:,}" if ours.signed_on_connect_path else "none"
    return f"{fate} while the token was replaced {renewed}, and {waited} waited for a signature."


def _on_usual(usual: Figures) -> str:
    said = f"The usual way signed {_counted(usual.signed_on_connect_path, 'time')}"
    said += f" for {_counted(usual.connects, 'connect')}"
    if usual.signed_on_connect_path and usual.waited is not None:
        each = usual.waited * 1000 / usual.signed_on_connect_path
        said += f", holding up the event loop for {each:.2f} ms each"
    return said + (f", and {usual.failures:,} failed" if usual.failures else "")


def _compared(report: Report) -> str:
    ours, usual = report.ours.latency_ms(50), report.usual.latency_ms(50)
    if ours is None or usual is None:
        return ""
    return f"; the median connect took {ours:.1f} ms with ours and {usual:.1f} ms there, " + (
        f"{abs(ours / usual - 1):.0%} {'less' if ours < usual else 'more'}"
        if _steady(report, ours < usual)
        else "a difference within the noise"
    )


def _steady(report: Report, faster: bool) -> bool:
    """Tell whether the rounds agree on who was faster: the sign test, two-sided.

    Of the 7 rounds of a usual run all must, for a coin falls so 7 times once in 64.
    """
    pairs = zip(report.ours.round_medians, report.usual.round_medians, strict=False)
    agreed = [(ours < usual) == faster for ours, usual in pairs if ours != usual]
    rounds, wins = len(agreed), sum(agreed)
    chance = 2 * sum(comb(rounds, k) for k in range(wins, rounds + 1)) / (1 << rounds)
    return chance <= _CHANCE


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
