"""The reference pages list every event and every metric, as they are in the code."""

from __future__ import annotations

import dataclasses
import logging
import re
from pathlib import Path
from typing import get_args

import yaml

from rds_iam_async import telemetry as t
from rds_iam_async._errors import Reason
from rds_iam_async.telemetry import _metrics as m
from rds_iam_async.telemetry._prometheus import prometheus_name

from .test_telemetry import EVENTS

DOCS = Path(__file__).parents[2] / "docs"


def rows(page: str) -> dict[str, list[str]]:
    """Return the cells of all tables of a page, by the name in their first."""
    found = {}
    for line in (DOCS / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            found[cells[0].strip("`")] = cells
    return found


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_event_is_listed_with_its_fields_and_its_level() -> None:
    """And nothing else is."""
    table = rows("reference/events.md")
    kinds = {kind.__name__: kind for kind in t.Event.__subclasses__()}
    assert set(table) == set(kinds)
    for name, (_, _, level, fields) in table.items():
        assert names(fields) == [field.name for field in dataclasses.fields(kinds[name])]
        for event, logged, _ in EVENTS:
            if type(event).__name__ == name:
                assert logging.getLevelName(logged) in level


def test_every_metric_is_listed_under_both_names() -> None:
    """With its type, its unit and its attributes."""
    table = rows("reference/metrics.md")
    metrics = {metric.name: metric for metric in (*m.COUNTERS, *m.HISTOGRAMS, *m.GAUGES)}
    assert {name for name in table if name.startswith("rds_iam.")} == set(metrics)
    for name, metric in metrics.items():
        _, prometheus, kind, unit, attributes, _, _ = table[name]
        suffix = "_total" if metric in m.COUNTERS else ""
        assert names(prometheus) == [prometheus_name(metric) + suffix]
        kinds = {"counter": m.COUNTERS, "histogram": m.HISTOGRAMS, "gauge": m.GAUGES}
        assert metric in kinds[kind]
        assert unit == f"`{metric.unit}`"
        of_endpoint = m.OF_ENDPOINT if "endpoint" in attributes else ()
        assert (*of_endpoint, *names(attributes)) == metric.attributes


def test_every_reason_is_listed() -> None:
    """So that an alert's label can be looked up."""
    words = {name for name in rows("reference/metrics.md") if not name.startswith("rds_iam.")}
    assert words == set(get_args(Reason))


def test_every_alert_says_what_to_do_and_every_metric_has_one() -> None:
    """A page that wakes somebody has a section to read; a metric without an alert is for show."""
    rules = yaml.safe_load((DOCS / "grafana" / "alerts.yml").read_text())["groups"][0]["rules"]
    page = (DOCS / "how-to" / "alerts.md").read_text()
    told = {line.removeprefix("## ") for line in page.splitlines() if line.startswith("## RdsIam")}
    assert told == {rule["alert"] for rule in rules}
    asked = " ".join(rule["expr"] for rule in rules)
    for metric in (*m.COUNTERS, *m.HISTOGRAMS, *m.GAUGES):
        assert prometheus_name(metric) in asked
