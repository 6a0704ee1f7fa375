"""Each number that the documentation explains is the code's."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from rds_iam_async import (
    RefreshPolicy,
    TokenRefresher,
    _agenda,
    _life,
    _limit,
    _mint,
    _open,
    _refresher,
    _replacement,
    _schedule,
    _wiring,
)

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "numbers.md"

FIXED = {
    "what is signed as `X-Amz-Expires`": _mint.SIGNED_SECONDS,
    "shortest `lifetime`": _schedule.SHORTEST_LIFE,
    "margin of a short life": _schedule.MARGIN_SHARE,
    "keys that sign nothing any more": _schedule.WORTH_SIGNING,
    "share of the wait for the next look at keys that is drawn at random": _schedule.KEYS_SPREAD,
    "share of the time that keys in hand have left, before a failed look is repeated, at least": (
        _schedule.CALM[0]
    ),
    "the same, at most": _schedule.CALM[1],
    "a clock that is ahead, tolerated": _life.FUTURE_TOLERANCE,
    "longest sleep": _schedule.SLICE,
    "mints that are due within this are made together": _agenda.GRAIN,
    "clock jump": _schedule.CLOCK_JUMP,
    "between two forced mints": _schedule.FORCED_APART,
    "the same, at most, while they do not help": _schedule.FORCED_CAP,
    "share of `wait` for looking up keys afresh": _replacement.LOOK_SHARE,
    "`start(timeout=…)`": inspect.signature(TokenRefresher.start).parameters["timeout"].default,
    "waiting for the AWS SDK to be imported": _schedule.IMPORT_WAIT,
    "closing, the refresher's task": _refresher._FAREWELL,
    "closing, what `token()` began": _wiring._FAREWELL,
    "closing, `open_engine`'s pool": _open._FAREWELL,
    "burst of `max_connects_per_second`": _limit._BURST,
}


def rows(page: Path) -> dict[str, list[str]]:
    """Return the rows of a page's tables by their first cell, without the headings."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {name: rest for name, *rest in cells}


def test_every_default_of_the_policy_is_explained_as_it_is() -> None:
    """A field without a row, or with another number, fails here."""
    written = rows(PAGE)
    policy = RefreshPolicy()
    for field in fields(policy):
        assert float(written[f"`{field.name}`"][0]) == getattr(policy, field.name)


@pytest.mark.parametrize("name", FIXED)
def test_every_fixed_number_is_explained_as_it_is(name: str) -> None:
    """Those that nobody can change stand in the page, too."""
    said = rows(PAGE)[name][0]
    assert (0.1 if said == "a tenth" else float(said)) == FIXED[name]


def test_no_number_is_explained_that_is_not_there() -> None:
    """A row that was forgotten when its number went would be believed."""
    numbers = {
        name
        for name, (value, *_) in rows(PAGE).items()
        if value == "a tenth" or value.replace(".", "").isdigit()
    }
    assert numbers == {*FIXED, *(f"`{field.name}`" for field in fields(RefreshPolicy))}
