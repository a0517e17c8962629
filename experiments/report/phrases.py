"""How values are put into words and paths: the filters of the report's templates."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from hauberk.experiments.report.figures import figure, one_decimal, unit_of
from hauberk.experiments.report.heat_maps import HeatCell, HeatMap
from hauberk.experiments.report.ranks import Board, Ranking, Standing
from hauberk.experiments.report.statistics import Estimate
from hauberk.tasks.base import Metric

LINE = 11  # characters of a column's heading that fit into its width
BAR = 90  # pixels


def wrapped(name: str) -> list[str]:
    """Returns a column's heading as at most three lines, broken at underscores and spaces."""
    words = name.replace("_", "_ ").replace("+", "+ ")
    lines = textwrap.wrap(words, LINE + 1, max_lines=3, placeholder="…")
    return [line.replace("_ ", "_").replace("+ ", "+") for line in lines] or [""]


def shortened(text: str, width: int) -> str:
    """Returns a text of at most ``width`` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def spread(cell: HeatCell, metric: Metric) -> str:
    """Returns the small line of a heat map's cell: the interval's half width, or how many cells it stands for."""
    if cell.finished < cell.expected:
        return f"{cell.finished} of {cell.expected}"
    return f"± {figure(cell.estimate.half_width, metric)}" if cell.estimate.has_interval else ""


def spoken(cell: HeatCell, metric: Metric) -> str:
    """Returns a heat map's cell in words."""
    if cell.state != "finished":
        return f"{cell.state}, {cell.reason}" if cell.reason else cell.state
    parts = [f"{figure(cell.estimate.mean, metric)} {unit_of(metric)}".strip()]
    if cell.estimate.has_interval:
        parts.append(f"95 % t interval {interval(cell.estimate, metric)} of {cell.estimate.n} seeds")
    if cell.finished < cell.expected:
        parts.append(f"{cell.finished} of {cell.expected} cells finished")
    ties = {"best": "best of its threat model", "tied": "cannot be told apart from the best"}
    parts += [ties[cell.mark]] if cell.mark in ties else []
    return "; ".join([*parts, cell.reason] if cell.reason else parts)


def written(cell: HeatCell, metric: Metric) -> str:
    """Returns a heat map's cell as Markdown."""
    if cell.state != "finished":
        return "" if cell.state == "absent" else cell.state
    value = figure(cell.estimate.mean, metric)
    value = {"best": f"**{value}**", "tied": f"≈ {value}"}.get(cell.mark, value)
    small = spread(cell, metric)
    return f"{value} ({small})" if cell.finished < cell.expected else f"{value} {small}".strip()


def interval(estimate: Estimate, metric: Metric | None = None) -> str:
    """Returns an interval in brackets; nothing where there is none."""
    if not estimate.has_interval:
        return ""
    ends = (estimate.low, estimate.high)
    low, high = (figure(end, metric) if metric else one_decimal(end) for end in ends)
    return f"[{low}, {high}]"


def plain(value: float, digits: int = 1) -> str:
    """Returns a number with one decimal, or with none."""
    if math.isnan(value):
        return "–"
    return one_decimal(value) if digits else f"{value:.0f}"


def path(points: Iterable[tuple[float, float]], width: float, height: float) -> str:
    """Returns points of the unit square as the path of an SVG of this size, where y grows downwards."""
    return "M" + "L".join(f"{round(width * x, 1):g} {round(height * (1 - y), 1):g}" for x, y in points)


def share_of(value: float, values: Iterable[float]) -> int:
    """Returns the pixels of a bar whose longest is the largest of ``values``."""
    most = max((one for one in values if not math.isnan(one)), default=0.0)
    return 0 if math.isnan(value) or not most else round(BAR * value / most)


def longest_rule(heat_map: HeatMap) -> int:
    """Returns the length of the longest name of a rule."""
    return max(len(rule) for rules in heat_map.groups.values() for rule in rules)


def most_head_lines(heat_map: HeatMap) -> int:
    """Returns the largest number of lines of a column's heading."""
    return max(len(wrapped(name)) for name, _ in heat_map.columns)


def ranked_rules(board: Board) -> list[str]:
    """Returns the board's rules in the order of its first ranking, those that are not ranked at the end."""
    ranked = [one.rule for ranking in board.rankings for one in ranking.standings]
    return list(dict.fromkeys([*ranked, *(rule for ranking in board.rankings for rule in ranking.left_out)]))


def standing(ranking: Ranking, rule: str) -> Standing | None:
    """Returns a rule's standing; None where it is not ranked."""
    return next((one for one in ranking.standings if one.rule == rule), None)


def test_notes(board: Board) -> list[tuple[str, str]]:
    """Returns how a board's rules were compared, each way once with the metrics that it holds for."""
    found: dict[str, list[str]] = {}
    for ranking in board.rankings:
        if len(ranking.standings) > 1:
            found.setdefault(f"{ranking.tests.test}; intervals over {ranking.unit}", []).append(
                ranking.metric.label
            )
    return [(note, capitalized(" and ".join(labels))) for note, labels in found.items()]


def position(items: Iterable[Any], item: Any) -> int:
    """Returns the place of an item."""
    return list(items).index(item)


def capitalized(text: str) -> str:
    """Returns the text with a capital at its beginning and the rest as it is."""
    return text[:1].upper() + text[1:]


def cell_text(value: str) -> str:
    """Returns a text for a cell of a Markdown table."""
    return " ".join(value.replace("|", "\\|").replace("<", "&lt;").split())


FILTERS: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        wrapped,
        shortened,
        spread,
        spoken,
        written,
        interval,
        plain,
        path,
        share_of,
        longest_rule,
        most_head_lines,
        ranked_rules,
        standing,
        test_notes,
        position,
        capitalized,
        cell_text,
        figure,
    )
} | {"unit": unit_of}
