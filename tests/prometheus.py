"""As much of Prometheus as the alerts need: scrapes with their times, and a few of its functions.

promql-parser parses; what is evaluated here is refused where it is more than this knows. Of
counters the plain difference is taken: Prometheus stretches it to the whole range besides.
"""

from __future__ import annotations

import bisect
import operator
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import promql_parser as ql
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]

COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
MATCHED: dict[str, Callable[[str, str], bool]] = {
    "MatchOp.Equal": operator.eq,
    "MatchOp.NotEqual": operator.ne,
}


parsed = cache(ql.parse)


class Prometheus:
    """Remembers what it scraped, and answers about the last time that it did."""

    def __init__(self) -> None:
        self._now = 0.0
        self._series: dict[str, dict[Labels, list[tuple[float, float]]]] = {}

    def scrape(self, now: float, exposition: str) -> None:
        self._now = now
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                # A label without a value is no label.
                labels = frozenset((n, v) for n, v in sample.labels.items() if v)
                series = self._series.setdefault(sample.name, {}).setdefault(labels, [])
                series.append((now, sample.value))

    def ask(self, query: str) -> Vector:
        return self._vector(parsed(query))

    def _vector(self, node: Any) -> Vector:
        match node:
            case ql.ParenExpr():
                return self._vector(node.expr)
            case ql.VectorSelector():
                series = self._selected(node)
                return {labels: s[-1][1] for labels, s in series.items() if s[-1][0] == self._now}
            case ql.AggregateExpr():
                return self._sum(node)
            case ql.BinaryExpr():
                return self._compared(node)
            case ql.Call():
                return getattr(self, f"_{node.func.name}")(*node.args)
        raise NotImplementedError(node.prettify())

    def _selected(self, node: Any) -> dict[Labels, list[tuple[float, float]]]:
        assert node.offset is None
        found = self._series.get(node.name, {})
        for m in node.matchers.matchers:
            fits = partial(MATCHED[str(m.op)], m.value)
            found = {labels: s for labels, s in found.items() if fits(dict(labels).get(m.name, ""))}
        return found

    def _sum(self, node: Any) -> Vector:
        assert str(node.op) == "sum"
        assert node.modifier.type == ql.AggModifierType.By
        summed: Vector = {}
        for labels, value in self._vector(node.expr).items():
            group = only(labels, node.modifier.labels)
            summed[group] = summed.get(group, 0.0) + value
        return summed

    def _compared(self, node: Any) -> Vector:
        compare, bound = COMPARED[str(node.op)], node.rhs.val
        return {
            labels: value
            for labels, value in self._vector(node.lhs).items()
            if compare(value, bound)
        }

    def _increase(self, node: Any) -> Vector:
        since = (self._now - node.range.total_seconds(), float("inf"))
        increases: Vector = {}
        for labels, series in self._selected(node.vector_selector).items():
            if (first := bisect.bisect(series, since)) < len(series):
                increases[labels] = series[-1][1] - series[first][1]
        return increases

    def _rate(self, node: Any) -> Vector:
        seconds = node.range.total_seconds()
        return {labels: value / seconds for labels, value in self._increase(node).items()}

    def _histogram_quantile(self, share: Any, node: Any) -> Vector:
        groups: dict[Labels, list[tuple[float, float]]] = {}
        for labels, value in self._vector(node).items():
            values = dict(labels)
            bucket = (float(values.pop("le")), value)
            groups.setdefault(frozenset(values.items()), []).append(bucket)
        return {
            labels: quantile(share.val, sorted(buckets))
            for labels, buckets in groups.items()
            if max(count for _, count in buckets) > 0
        }


def quantile(share: float, buckets: list[tuple[float, float]]) -> float:
    """Return where *share* of what cumulative *buckets* hold lies, linearly within one."""
    rank = share * buckets[-1][1]
    below, lower = 0.0, 0.0
    for upper, count in buckets:
        if count >= rank:
            if upper == float("inf"):
                return lower
            return lower + (upper - lower) * (rank - below) / (count - below)
        below, lower = count, upper
    raise AssertionError("a histogram ends with +Inf")


def only(labels: Labels, names: Iterable[str]) -> Labels:
    return frozenset((name, value) for name, value in labels if name in set(names))


def selectors(query: str) -> list[tuple[str, set[str]]]:
    """Return each metric that *query* names, and the labels that it matches, for checking."""
    found: list[tuple[str, set[str]]] = []

    def visit(node: Any) -> None:
        selector = node.vector_selector if isinstance(node, ql.MatrixSelector) else node
        if isinstance(selector, ql.VectorSelector):
            found.append((selector.name, {m.name for m in selector.matchers.matchers}))

    ql.walk(ql.parse(query), visit)
    return found


def grouped(query: str) -> set[str]:
    """Return the labels that *query* groups by, or matches two vectors on."""
    found: set[str] = set()

    def visit(node: Any) -> None:
        modifier = getattr(node, "modifier", None)
        modifier = getattr(modifier, "matching", modifier)
        found.update(getattr(modifier, "labels", None) or ())

    ql.walk(ql.parse(query), visit)
    return found
