"""Curves by round as small multiples: a panel for each rule and attack, the mean over seeds and their range."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hauberk.experiments.report.frames import Frames
from hauberk.tasks.base import Metric

MOST_POINTS = 24
Axes = tuple[tuple[Metric, float, float], ...]


@dataclass(frozen=True)
class Curve:
    """A metric over rounds, in a square of side 1 with its origin at the bottom left.

    Attributes:
        mean: (x, y) of the mean over seeds, of at most 24 rounds.
        band: (x, y) around the range of the seeds; empty where there is one seed.
        last: the mean after the last round.
    """

    metric: Metric
    mean: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float], ...]
    last: float


@dataclass(frozen=True)
class CurveGrid:
    """The panels of one setting.

    Attributes:
        axes: each metric with the values at the bottom and the top of its panels.
        rows: rule -> the curves in each column; none where no round is recorded.
    """

    title: str
    columns: tuple[str, ...]
    n_rounds: int
    axes: Axes
    rows: dict[str, tuple[tuple[Curve, ...], ...]]


def curve_grids(frames: Frames) -> list[CurveGrid]:
    """Returns a grid of panels for each setting that has rounds."""
    known = [metric for metric in frames.metrics if metric.name in frames.rounds]
    axes = tuple((metric, *_limits(frames.rounds[metric.name], metric)) for metric in known)
    if frames.rounds.empty or not axes:
        return []
    grids = [_grid(frames, setting, axes) for setting in frames.settings]
    return [grid for grid in grids if grid.n_rounds]


def _grid(frames: Frames, setting: tuple[str, ...], axes: Axes) -> CurveGrid:
    cells = frames.at(setting)[["cell", "rule", "attack"]]
    lines = frames.rounds.merge(cells, on="cell")
    n_rounds = int(lines["round"].max()) if len(lines) else 0
    panels: dict[tuple[str, str], list[Curve]] = {}
    for metric, low, high in axes:
        by_round = lines.groupby(["rule", "attack", "round"])[metric.name].agg(
            ["mean", "min", "max", "count"]
        )
        for panel, rounds in by_round.dropna(subset="mean").groupby(level=["rule", "attack"]):
            panels.setdefault(panel, []).append(_curve(rounds.loc[panel], n_rounds, metric, low, high))
    rows = {
        rule: tuple(tuple(panels.get((rule, attack), ())) for attack in frames.attacks)
        for rule in frames.rules
    }
    return CurveGrid(frames.describe(setting), tuple(frames.attacks), n_rounds, axes, rows)


def _curve(rounds: pd.DataFrame, n_rounds: int, metric: Metric, low: float, high: float) -> Curve:
    """Returns the curve of one panel, from the mean, min, max and count of its seeds by round."""
    chosen = rounds.iloc[_thinned(len(rounds))]
    x = (chosen.index.to_numpy() - 1) / max(n_rounds - 1, 1)

    def placed(values: pd.Series) -> list[tuple[float, float]]:
        share = np.clip((values.to_numpy() - low) / (high - low), 0, 1)
        return [(round(float(a), 3), round(float(b), 3)) for a, b in zip(x, share, strict=True)]

    several = rounds["count"].max() > 1
    band = placed(chosen["max"]) + placed(chosen["min"])[::-1] if several else []
    return Curve(metric, tuple(placed(chosen["mean"])), tuple(band), float(rounds["mean"].iloc[-1]))


def _thinned(n: int) -> np.ndarray:
    """Returns at most 24 of n indices, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, MOST_POINTS)).round().astype(int))


def _limits(values: pd.Series, metric: Metric) -> tuple[float, float]:
    if metric.is_share:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low and math.isfinite(high - low) else (low - 0.5, low + 0.5)
