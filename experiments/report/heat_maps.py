"""Heat maps rule by attack: the mean over seeds of each cell, and whether it can be told apart from the best."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from hauberk.experiments.report.comparison import mark_ties
from hauberk.experiments.report.frames import FAILED, FINISHED, MISSING, NO_ATTACK, NOBODY_LIES, Frames
from hauberk.experiments.report.statistics import Estimate, t_estimate
from hauberk.tasks.base import Metric

MEAN, WORST = "mean", "worst"


@dataclass(frozen=True)
class HeatCell:
    """One rule in one column.

    Attributes:
        estimate: the mean over seeds with its t interval.
        mark: "best" of its threat model in this column, "tied" with that, "worse", or "" where no test was possible.
        state: "finished", "failed" or "missing" where no seed has finished, "absent" where the grid has no such cell.
        expected: how many cells of the grid this one stands for.
        finished: how many of them have finished.
        reason: why one failed.
        shade: how strongly it is coloured, 0 to 1.
    """

    estimate: Estimate = field(default_factory=Estimate)
    mark: str = ""
    state: str = "absent"
    expected: int = 0
    finished: int = 0
    reason: str = ""
    shade: float = 0.0


@dataclass(frozen=True)
class HeatMap:
    """A metric of every rule in every column.

    Attributes:
        title: the setting; empty where the grid has one alone.
        columns: their names, each with a note: what the attacker knows.
        groups: what the server needs -> rule -> its cells, one a column.
    """

    title: str
    metric: Metric
    columns: tuple[tuple[str, str], ...]
    groups: dict[str, dict[str, tuple[HeatCell, ...]]]


def attack_heat_maps(frames: Frames, metric: Metric) -> list[HeatMap]:
    """Returns the heat map over all settings together, and that of each where there are several."""
    scale = _scale(frames.cells[metric.name], metric)
    maps = [_heat_map(frames, frames.cells, metric, "", scale)]
    if len(frames.settings) > 1:
        maps = [_heat_map(frames, frames.cells, metric, f"mean of {len(frames.settings)} settings", scale)]
        maps += [
            _heat_map(frames, frames.at(setting), metric, frames.describe(setting), scale)
            for setting in frames.settings
        ]
    return [one for one in maps if one.columns]


def _heat_map(
    frames: Frames, cells: pd.DataFrame, metric: Metric, title: str, scale: tuple[float, float]
) -> HeatMap:
    columns, found = [], {}
    for attack in frames.attacks:
        below = cells[cells["attack"] == attack]
        done = below[below["status"] == FINISHED]
        if len(done) and done[metric.name].isna().all():
            continue  # a metric of attacks has no column where nobody lies
        knowledge = ", ".join(dict.fromkeys(below["knowledge"]))
        if not len(done) and knowledge == NOBODY_LIES:
            continue
        columns.append((attack, knowledge))
        found[attack] = heat_column(below, frames.rules, metric, scale)
    attacked = cells[cells["attack"] != NO_ATTACK]
    if attacked["attack"].nunique() > 1:
        columns += [(MEAN, "over attacks"), (WORST, "of the attacks")]
        found |= _over_attacks(attacked, found, frames.rules, metric, scale)
    return HeatMap(title, metric, tuple(columns), group_by_needs(frames.cells, found))


def _over_attacks(
    cells: pd.DataFrame,
    columns: Mapping[str, Mapping[str, HeatCell]],
    rules: list[str],
    metric: Metric,
    scale: tuple[float, float],
) -> dict[str, dict[str, HeatCell]]:
    """Returns each rule's mean over attacks and its worst one, unmarked: these attackers know different things."""
    mean = heat_column(cells, rules, metric, scale)
    attacked = [column for attack, column in columns.items() if attack != NO_ATTACK]
    pick = min if metric.higher_is_better else max
    worst = {}
    for rule in rules:
        known = [column[rule] for column in attacked if not math.isnan(column[rule].estimate.mean)]
        worst[rule] = pick(known, key=lambda one: one.estimate.mean, default=HeatCell(state=MISSING))
    return {
        name: {rule: replace(cell, mark="") for rule, cell in column.items()}
        for name, column in ((MEAN, mean), (WORST, worst))
    }


def heat_column(
    cells: pd.DataFrame, rules: list[str], metric: Metric, scale: tuple[float, float]
) -> dict[str, HeatCell]:
    """Returns each rule's cell of one column; rules are compared within what the server needs alone."""
    marks: dict[str, str] = {}
    for _, group in cells.groupby("needs", sort=False):
        marks |= mark_ties(_by_seed(group, metric), higher_is_better=metric.higher_is_better)
    by_rule = dict(iter(cells.groupby("rule")))
    return {rule: _cell(by_rule.get(rule), metric, marks.get(rule, ""), scale) for rule in rules}


def _cell(cells: pd.DataFrame | None, metric: Metric, mark: str, scale: tuple[float, float]) -> HeatCell:
    if cells is None:
        return HeatCell()
    status = cells["status"].to_numpy()
    reason = "" if (status == FINISHED).all() else next(iter(cells.loc[status == FAILED, "reason"]), "")
    done = cells if (status == FINISHED).all() else cells[status == FINISHED]
    if done.empty:
        state = FAILED if (status == FAILED).any() else MISSING
        return HeatCell(state=state, expected=len(cells), reason=reason)
    values = done[metric.name].tolist()
    if done["seed"].duplicated().any():
        values = done.groupby("seed")[metric.name].mean().tolist()
    estimate = t_estimate(values)
    shade = _shade(estimate.mean, scale)
    return HeatCell(estimate, mark, FINISHED, len(cells), len(done), reason, shade)


def _by_seed(cells: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    """Returns a column a rule, a row a seed; NaN where a rule has not finished all of the seed's cells."""
    values = cells.assign(value=cells[metric.name].where(cells["status"] == FINISHED))
    groups = values.groupby(["seed", "rule"])["value"]
    return groups.mean().where(groups.count() == groups.size()).unstack("rule")


def group_by_needs(
    cells: pd.DataFrame, columns: Mapping[Any, Mapping[str, HeatCell]]
) -> dict[str, dict[str, tuple[HeatCell, ...]]]:
    """Returns what the server needs -> rule -> its cells, from each column's cells by rule."""
    groups: dict[str, dict[str, tuple[HeatCell, ...]]] = {}
    for needs, rule in cells[["needs", "rule"]].drop_duplicates().itertuples(index=False, name=None):
        groups.setdefault(needs, {})[rule] = tuple(column[rule] for column in columns.values())
    return groups


def _scale(values: pd.Series, metric: Metric) -> tuple[float, float]:
    """Returns the values at which a cell is white and at which it is fully coloured."""
    low, high = values.min(), values.max()
    if metric.higher_is_better:
        return (low, high)
    return (0.0, 1.0) if metric.is_share else (min(low, 0.0), high)


def _shade(value: float, scale: tuple[float, float]) -> float:
    low, high = scale
    if math.isnan(value) or not high > low:
        return 0.0
    return min(max((value - low) / (high - low), 0.0), 1.0)
