"""The drawing of a token's life says what the code does."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

DRAWINGS = Path(__file__).parents[2] / "docs" / "drawings"


def test_each_number_in_the_picture_is_what_the_schedule_says_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else draw it anew: `python docs/drawings/life_of_a_token.py`."""
    monkeypatch.syspath_prepend(str(DRAWINGS))
    drawing = importlib.import_module("life_of_a_token")
    written = [
        "".join(element.itertext())
        for element in ET.parse(drawing.PICTURE).iter("{http://www.w3.org/2000/svg}text")
    ]
    said = [*drawing.TITLES.values()]
    for keys_end in drawing.TITLES:
        said += drawing.words(drawing.life(keys_end)).values()
    ticks = [f"{n} min" for n in range(0, 26, 5)]
    with_numbers = {text for text in written if any(letter.isdigit() for letter in text)}
    assert set(said) <= set(written)
    assert with_numbers <= {*said, *ticks}
