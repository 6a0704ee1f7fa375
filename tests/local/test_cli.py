"""The command, run as its users run it: in a process of its own."""

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

COMMAND = [sys.executable, "-m", "rds_iam_async._cli"]
ESC = "\x1b"


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env={**os.environ, **variables}
    )


def run_without(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # None in sys.modules is how Python itself spells "this cannot be imported".
    code = (
        f"import sys; sys.modules[{module!r}] = None; sys.argv[0] = 'rds-iam-async'\n"
        "from rds_iam_async._cli import main; main()"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    ran: subprocess.CompletedProcess[str]
    figures: dict[str, Any]
    picture: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    picture = tmp_path_factory.mktemp("demo") / "demo.svg"
    for _ in range(3):
        # Somebody's own AWS set-up, broken at that, is no matter.
        ran = run(
            *("demo", "--json", "--seconds", "3", "--svg", str(picture)),
            AWS_PROFILE="no-such-profile",
            AWS_SESSION_TOKEN="of another key",
            FORCE_COLOR="1",
        )
        figures = json.loads(ran.stdout)
        # A token of 4 s is minted 0.9 s ahead of need. Where the whole machine stood still for
        # longer it is no witness; connections that were under way have noticed.
        ways = (figures, figures["usual_way"])
        if max(way["latency_ms"]["max"] or 0 for way in ways) < 800:
            break
    return Demo(ran=ran, figures=figures, picture=picture)


def test_connects_go_on_while_tokens_rotate(demo: Demo) -> None:
    """The promise in figures: none fails, is refused, is sent in clear or waits for a signature."""
    figures = demo.figures
    assert (demo.ran.returncode, demo.ran.stderr) == (0, "")
    assert figures["minted"] >= 2
    assert figures["connects"] > 0
    assert figures["failures"] == 0
    assert figures["refused_attempts"] == 0
    assert figures["plaintext_attempts"] == 0
    assert figures["signed_on_connect_path"] == 0
    assert figures["waited_for_signature_ms"] == 0


def test_the_usual_way_signs_once_for_each_connect(demo: Demo) -> None:
    """It is the same work at the same gate, done fairly: it works, and it signs each time."""
    usual = demo.figures["usual_way"]
    assert usual["signed_on_connect_path"] == usual["minted"] == usual["connects"] > 0
    assert usual["failures"] == usual["refused_attempts"] == usual["plaintext_attempts"] == 0
    assert usual["waited_for_signature_ms"] > 0


def test_both_ways_are_told_by_the_same_keys(demo: Demo) -> None:
    """A program that reads one reads the other, and percentiles are in order."""
    figures = demo.figures
    usual = figures["usual_way"]
    assert figures.keys() - usual.keys() == {"duration", "workers", "token_lifetime", "usual_way"}
    assert usual.keys() <= figures.keys()
    assert figures["workers"] == 4
    assert figures["duration"] >= 3
    for latency in (figures["latency_ms"], usual["latency_ms"]):
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]


def test_the_picture_shows_the_last_screen(demo: Demo) -> None:
    """It is well-formed SVG with the figures of this very run."""
    root = ElementTree.parse(demo.picture).getroot()
    shown = "".join(root.itertext()).replace("\xa0", " ")
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "connecting while tokens rotate" in shown
    assert f"{demo.figures['connects']:,} connects" in shown


def test_failed_connects_are_counted_shown_and_end_in_exit_status_1() -> None:
    """A gate that refuses every token: nothing is hidden, and no escape code is in the pipe."""
    ran = run("demo", "--seconds", "1", "--workers", "1", "--refuse", "100000", FORCE_COLOR="1")
    assert (ran.returncode, ran.stderr) == (1, "")
    assert ran.stdout.startswith("1 worker opens new TLS connections for 1 s; ")
    assert "connecting while tokens rotate" not in ran.stdout  # the moving panel's title
    assert ESC not in ran.stdout
    rows = dict(re.findall(r"^ +(\S.*?\S) {2,}(\d+) ", ran.stdout, re.MULTILINE))
    assert rows["failures"] == rows["connects"] != "0"
    assert rows["signed on the connect path"] != "0"
    assert "PAM authentication failed" in " ".join(ran.stdout.split())


def test_a_terminal_sees_it_move_and_ctrl_c_leaves_nothing_behind() -> None:
    """The screen is drawn again and again; Ctrl-C ends in 130, quietly, with the cursor back."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_TERMINAL, *COMMAND, "demo"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"},
    )
    os.close(theirs)
    screen = b""
    interrupted = False
    # The terminal ends when the last process that holds it does: PostgreSQL's keeper is one.
    while chunk := _read(ours):
        screen += chunk
        drawn = screen.count(b"connecting while tokens rotate")
        if not interrupted and drawn > 3 and b"1 of 20 s" in screen:
            os.write(ours, b"\x03")
            interrupted = True
    os.close(ours)
    assert process.wait() == 130
    assert screen.count(b"connecting while tokens rotate") > 3
    assert f"{ESC}[1A".encode() in screen
    assert screen.rstrip().endswith(f"{ESC}[?25h".encode())
    assert b"Traceback" not in screen, screen[screen.find(b"Traceback") :].decode()
    assert b"Aborted" not in screen


# Make the terminal the process's own, so that ^C typed there becomes SIGINT.
_IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux's way to say that nobody is at the other end
        return b""


def test_without_the_extra_one_line_says_what_to_install() -> None:
    """The entry point is installed even where the extra is not."""
    ran = run_without("typer", "demo")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "rds-iam-async: typer is not installed: pip install 'rds-iam-async[cli,local]'\n"
    )


@pytest.mark.parametrize("module", ["boto3", "trustme"])
def test_what_only_the_demo_needs_is_named_too(module: str) -> None:
    """No traceback for a missing package."""
    ran = run_without(module, "demo", "--json")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"{module} is not installed" in ran.stderr
    assert "pip install 'rds-iam-async[" in ran.stderr


def test_an_error_of_ours_is_told_with_its_hint() -> None:
    """A person reads what happened and what to do, not a traceback."""
    ran = run("demo", "--json", RDS_IAM_PG_BIN="/nonexistent")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "rds-iam-async: RDS_IAM_PG_BIN is '/nonexistent', where there is no postgres and initdb\n"
        "hint: let RDS_IAM_PG_BIN name PostgreSQL's bin directory, or unset it\n"
    )


def test_a_picture_that_cannot_be_saved_is_refused_before_the_run(tmp_path: Path) -> None:
    """Nobody waits 20 s for that."""
    ran = run("demo", "--svg", str(tmp_path / "missing" / "demo.svg"))
    assert (ran.returncode, ran.stdout) == (2, "")


def test_the_version_is_that_of_the_package() -> None:
    """`--version` answers without starting anything."""
    assert run("--version").stdout == f"rds-iam-async {version('rds-iam-async')}\n"
