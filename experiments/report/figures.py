"""How figures are written in a benchmark's report."""

from __future__ import annotations

import math

from hauberk.tasks.base import Metric


def unit_of(metric: Metric) -> str:
    """Returns what is written behind a metric's label."""
    return "%" if metric.is_share else ""


def figure(value: float, metric: Metric) -> str:
    """Returns a value as it is shown: percent with one decimal, four digits where it is no share."""
    if math.isnan(value):
        return "–"
    return one_decimal(100 * value) if metric.is_share else f"{value:.4g}"


def one_decimal(value: float) -> str:
    """Returns a number with one decimal, never "-0.0"."""
    return f"{round(value, 1) + 0.0:.1f}"
