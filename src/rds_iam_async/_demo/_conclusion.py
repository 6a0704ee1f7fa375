"""The figures in words. What is said follows from them, whichever way they turned out."""

from __future__ import annotations

from ._figures import Figures, Report

_SAME = 0.05
"""Two medians of one run that differ by less than this share are called alike: repeated
runs on an idle machine differ by as much."""


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
    share = ours / usual - 1
    if abs(share) < _SAME:
        verdict = "about the same"
    else:
        verdict = f"{abs(share):.0%} {'less' if share < 0 else 'more'}"
    return f"; the median connect took {ours:.1f} ms with ours and {usual:.1f} ms there: {verdict}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
