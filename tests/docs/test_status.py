"""The page on the status lists the fields that there are."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

from rds_iam_async import EndpointStatus, Status

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "status.md").read_text()
_, STATUS, ENDPOINT, AS_JSON, *_ = re.split(r"^## ", PAGE, flags=re.MULTILINE)


def listed(chapter: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", chapter, re.MULTILINE)


def test_each_field_is_listed_in_its_order() -> None:
    """Who reads JSON at night finds each word in it."""
    assert listed(STATUS) == [field.name for field in fields(Status)]
    assert listed(ENDPOINT) == [field.name for field in fields(EndpointStatus)]


def test_the_json_shown_has_the_fields_that_there_are() -> None:
    """It is an example, and no old one."""
    (shown,) = re.findall(r"```json\n(.*?)```", AS_JSON, re.DOTALL)
    (endpoint,) = json.loads(shown)["endpoints"]
    assert [*endpoint] == [field.name for field in fields(EndpointStatus)]
