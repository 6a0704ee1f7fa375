"""A page of the documentation, carried out as its reader would.

- A block of `python` runs in the page's own namespace, and may `await` at its top as in
  `python -m asyncio`; one with a caption (`{code-block} python`, `:caption: app.py`) is saved
  under that name in the page's directory, and so is any other with a caption.
- A file that is included (`{literalinclude}`) with a caption is saved under that name, whole.
- A block of `sh` is run by bash in that directory. After a line `% background: some words` it
  is started, and the page goes on when it has printed these words; it ends with the page.
- `% invisible-code-block: python` (or sh) is what the reader need not see. It can use the names
  `examples`, the folder, `local_rds`, the database behind DATABASE_URL, `free_port`, for a server
  beside the one at PORT, and `run_on`: after `run_on("imds")`, or another of
  `LocalAws.PROVIDERS`, the page gets its keys as on EC2.
- JSON, YAML, TOML and INI are parsed. `text` and the like are to be read only.
"""

from __future__ import annotations

import ast
import asyncio
import configparser
import contextlib
import inspect
import json
import os
import signal
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from sybil import Document, Example
from sybil.parsers.myst import CodeBlockParser
from sybil.parsers.myst.lexers import DirectiveInPercentCommentLexer, DirectiveLexer

LONGEST = 100.0
"""Seconds that one block of shell may take, or a program in the background to be ready."""

FAREWELL = 45.0
"""Seconds that a program may take to end. gunicorn kills a worker after 30 that does not: the
signal may reach one of its threaded workers while that holds a lock which the end waits for."""


def read_ini(text: str) -> None:
    """Parse what AWS's config files, pgbouncer's and alembic's look like."""
    configparser.ConfigParser(interpolation=None).read_string(text)


READERS: dict[str, Callable[[str], object]] = {
    "ini": read_ini,
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
}
TO_BE_READ = {"text", "promql", "dockerfile", "sql", "diff", "mermaid"}


class Page:
    """One page with its directory, its names and its programs in the background."""

    def __init__(
        self, path: Path, *, directory: Path, names: Mapping[str, object] | None = None
    ) -> None:
        self.document = Document.parse(
            str(path),
            CodeBlockParser("python", self._python),
            CodeBlockParser("sh", self._shell),
            *(CodeBlockParser(name, self._data) for name in READERS),
            *(CodeBlockParser(name, self._text) for name in TO_BE_READ),
            self._inclusions,
            self._background_notes,
        )
        self.document.namespace.update(names or {})
        self._directory = directory
        self._programs: list[Program] = []
        self._wait_for: str | None = None

    def carry_out(self) -> None:
        """Do all that the page says, in its order; whatever goes wrong comes out."""
        with asyncio.Runner() as self._loop:
            try:
                for example in self.document.examples():
                    example.evaluate()
            finally:
                for program in self._programs:
                    program.end()

    def _saved(self, example: Example) -> bool:
        return self._save(example, example.parsed)

    def _save(self, example: Example, text: str) -> bool:
        name = example.region.lexemes.get("options", {}).get("caption")
        if name is not None:
            path = self._directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return name is not None

    def _python(self, example: Example) -> None:
        if self._saved(example):
            return
        source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, example.path, "exec", flags=flags, dont_inherit=True)
        result = eval(code, example.namespace)
        if inspect.iscoroutine(result):
            self._loop.run(result)

    def _shell(self, example: Example) -> None:
        if self._saved(example):
            return
        program = Program(example, directory=self._directory)
        if self._wait_for is None:
            program.finish()
        else:
            self._programs.append(program)
            program.wait_for(self._wait_for)
            self._wait_for = None

    def _data(self, example: Example) -> None:
        self._saved(example)
        READERS[str(example.region.lexemes["arguments"])](example.parsed)

    def _text(self, example: Example) -> None:
        self._saved(example)

    def _inclusions(self, document: Document) -> Any:
        for region in DirectiveLexer("literalinclude")(document):
            region.evaluator = self._included
            yield region

    def _included(self, example: Example) -> None:
        source = Path(example.path).parent / example.region.lexemes["arguments"]
        self._save(example, source.read_text())

    def _background_notes(self, document: Document) -> Any:
        for region in DirectiveInPercentCommentLexer("background", ".+")(document):
            region.evaluator = self._note
            yield region

    def _note(self, example: Example) -> None:
        self._wait_for = str(example.region.lexemes["arguments"]).strip()


class Program:
    """A block of shell that runs, with all that it started."""

    def __init__(self, example: Example, *, directory: Path) -> None:
        self._where = f"{example.path}:{example.line}"
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        self._process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", example.parsed],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> None:
        """Wait for its end, and raise if that is not a good one."""
        try:
            try:
                status = self._process.wait(LONGEST)
            except subprocess.TimeoutExpired:
                status = None  # not ended yet: what it printed so far may say why
            assert status == 0, f"{self._where}: exit status {status}\n{self._read()}"
        finally:
            self.end()

    def wait_for(self, words: str) -> None:
        """Wait until it has printed *words*."""
        latest = time.monotonic() + LONGEST
        while words not in self._read():
            assert self._process.poll() is None, f"{self._where}: ended\n{self._read()}"
            assert time.monotonic() < latest, f"{self._where}: no {words!r} in\n{self._read()}"
            time.sleep(0.02)  # a file tells nobody that it grew

    def end(self) -> None:
        """Interrupt what still runs, as Ctrl-C would, and wait for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise
        finally:
            self._output.close()

    def _read(self) -> str:
        self._output.seek(0)
        return self._output.read()
