"""What a person sees: a mark, a name and the fact on each line, the fix right below its cross."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from ._finding import Cause, Diagnosis, Finding, printable
from ._policy import NARROWER
from ._subject import Subject

WIDTH = 100
"""The widest that anything is drawn, in columns."""

_NAME = 12

_MARKS = {"ok": "✓", "FAIL": "✗", "unknown": "?", "skipped": "-"}
_PLAIN_MARKS = {"ok": "ok  ", "FAIL": "FAIL", "unknown": "?   ", "skipped": "-   "}
_STYLES = {"ok": "green", "FAIL": "bold red", "unknown": "yellow", "skipped": "dim"}


def shown(what: Subject | Finding | Diagnosis, console: Console) -> Text:
    """Return what is examined, a finding, or the conclusion, in lines that fit *console*."""
    width = min(console.width, WIDTH)
    has_unicode = "utf" in console.encoding
    match what:
        case Subject():
            text = Text.assemble((printable(str(what)), "bold"), ("  " + what.driver.name, "dim"))
        case Finding():
            mark = (_MARKS if has_unicode else _PLAIN_MARKS)[what.verdict]
            text = Text("\n").join(_finding(what, mark, width=width))
        case Diagnosis():
            text = Text("\n").join(_conclusion(what, width=width))
    return text if has_unicode else Text(_in_ascii(text.plain))


def _in_ascii(text: str) -> str:
    plain = text.replace("→", "->").replace("…", "...").replace("✗", "FAIL")
    return plain.encode("ascii", "replace").decode()


def _finding(finding: Finding, mark: str, *, width: int) -> Iterator[Text]:
    indent = len(mark) + 1 + _NAME + 1
    head = Text.assemble((mark, _STYLES[finding.verdict]), f" {finding.name:{_NAME}} ")
    yield _hung(head, finding.said, style="dim" if finding.verdict == "skipped" else "", to=width)
    if finding.fix is not None:
        yield from _fix(finding.fix, indent=indent, width=width)
    if len(finding.causes) > 1:
        yield Text(" " * indent + "What else it may be, the likeliest first:", style="bold")
        for number, cause in enumerate(finding.causes[1:], start=2):
            yield from _cause(number, cause, indent=indent, width=width)


def _cause(number: int, cause: Cause, *, indent: int, width: int) -> Iterator[Text]:
    yield _hung(Text(f"{' ' * indent}{number}. "), cause.what, to=width)
    yield from _fix(cause.fix, indent=indent + 3, width=width)


def _fix(fix: str, *, indent: int, width: int) -> Iterator[Text]:
    """Yield what to do: a sentence, wrapped, and commands, which are to be pasted."""
    sentence, *commands = fix.split("\n")
    yield _hung(Text(f"{' ' * indent}→ ", style="cyan"), sentence, style="cyan", to=width)
    for command in commands:
        yield Text(" " * (indent + 2) + printable(command))


def _hung(head: Text, said: str, *, style: str = "", to: int) -> Text:
    """Return *said* after *head*, its further lines below its first."""
    indent = len(head)
    lines = textwrap.wrap(
        printable(said), max(20, to - indent), break_long_words=False, break_on_hyphens=False
    )
    return Text.assemble(head, (("\n" + " " * indent).join(lines), style))


def _conclusion(diagnosis: Diagnosis, *, width: int) -> Iterator[Text]:
    yield Text()
    first = next((item for item in diagnosis.findings if item.verdict == "FAIL"), None)
    if first is None:
        yield Text("All is well.", style="bold green")
        return
    yield Text(f"Failed: {first.name}.", style="bold red")
    if first.causes:
        yield Text("\nThe policy that is needed:\n", style="bold")
        yield Text(json.dumps(diagnosis.policy, indent=2))
        yield Text()
        yield _hung(Text(), NARROWER, style="dim", to=width)
