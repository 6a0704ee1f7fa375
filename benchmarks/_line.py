"""How straight a line is: what one endpoint more costs, and how far the sizes are from that."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

FROM = 100
"""Endpoints. What all of them share is felt below that many."""


def lines(found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the line of each cost, in seconds of CPU or in bytes, from 100 endpoints on."""
    many = [one for one in found if one["size"] >= FROM]
    sizes = [one["size"] for one in many]
    costs = {name: [one[name] for one in many] for name in ("cycle", "signing", "attach", "status")}
    costs["memory"] = [one["bytes_per_endpoint"] * one["size"] for one in many]
    return {name: line(sizes, those) for name, those in costs.items()}


def line(sizes: Sequence[float], costs: Sequence[float]) -> dict[str, float]:
    """Return how a cost grows.

    Args:
        sizes: Numbers of endpoints, two or more.
        costs: What all of them cost, at each size.

    Returns:
        What one more endpoint costs, by least squares; and by how much the cost of one
        differs from that at most, at any size, as a share of it.
    """
    slope = statistics.linear_regression(sizes, costs).slope
    off = [abs(cost / size / slope - 1) for size, cost in zip(sizes, costs, strict=True)]
    return {"slope": slope, "deviation": max(off)}
