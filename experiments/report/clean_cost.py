"""What a rule costs where nobody lies: the primary metric that it loses against plain averaging on the same seeds."""

from __future__ import annotations

import dataclasses

import pandas as pd

from hauberk.experiments.report.frames import FINISHED, NO_ATTACK, Frames
from hauberk.experiments.report.heat_maps import HeatMap, group_by_needs, heat_column
from hauberk.tasks.base import Metric

REFERENCE = "fedavg"


def clean_cost_map(frames: Frames) -> HeatMap | None:
    """Returns the heat map rule by setting; None where the grid has no cell without attack of the reference rule."""
    metric = frames.primary
    clean = frames.cells[frames.cells["attack"] == NO_ATTACK]
    reference = clean[(clean["rule"] == REFERENCE) & (clean["status"] == FINISHED)]
    if reference.empty:
        return None
    cost = dataclasses.replace(metric, label=f"{metric.label} lost without attack", higher_is_better=False)
    clean = _losses(clean, reference, frames.facets, metric)
    scale = (0.0, max(0.05 if metric.is_share else 0.0, clean[metric.name].max()))
    columns, found = [], {}
    for setting in frames.settings:
        below = frames.at(setting).index.intersection(clean.index)
        columns.append((frames.describe(setting) or f"against {REFERENCE}", ""))
        found[setting] = heat_column(clean.loc[below], frames.rules, cost, scale)
    return HeatMap("", cost, tuple(columns), group_by_needs(clean, found))


def _losses(
    clean: pd.DataFrame, reference: pd.DataFrame, facets: tuple[str, ...], metric: Metric
) -> pd.DataFrame:
    """Returns the cells with the reference's value on the same setting and seed minus their own."""
    keys = [*facets, "seed"]
    matched = clean[keys].merge(reference[[*keys, metric.name]], on=keys, how="left")[metric.name]
    sign = 1 if metric.higher_is_better else -1
    loss = sign * (matched.to_numpy() - clean[metric.name])
    return clean.assign(**{metric.name: loss})
