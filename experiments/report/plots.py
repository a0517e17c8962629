"""The picture of a run: its task's primary metric over the rounds, and how far an attack got.

Shares have one axis from 0 to 1. A primary metric that is no share, such as an error, has an axis of its own on the
left, and the attack's shares one on the right.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from hauberk.experiments.runner.records import NOT_EVALUATED
from hauberk.tasks.base import Metric

BLUE, RED = "#1b6ca8", "#c0392b"
ATTACK_CURVES = {
    "attack_success_rate": ("attack success rate", "-"),
    "attack_success_natural": ("its natural rate (attack-free twin)", "--"),
    "attack_success_floor": ("its floor (clean texts)", ":"),
}


@dataclass(frozen=True)
class Panel:
    """One run's part of a picture.

    Attributes:
        title: what stands above it.
        rounds: the run's recorded rounds.
        primary: the first metric of its task.
    """

    title: str
    rounds: Sequence[Mapping[str, Any]]
    primary: Metric


def can_draw() -> bool:
    """Whether matplotlib is installed, which a machine that only trains can do without."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_panels(path: Path, panels: Sequence[Panel]) -> None:
    """Draws runs side by side into ``path``; on the same axis where all that is drawn are shares."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = 4.6 * len(panels) + 0.6, 3.6
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    shared = all(panel.primary.is_share for panel in panels)
    axes = figure.subplots(1, len(panels), sharey=shared, squeeze=False)[0]
    curves: dict[str, Any] = {}
    for number, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
        curves |= _draw(axis, panel)
        if number == 0 or not shared:
            axis.set_ylabel("share of test examples" if panel.primary.is_share else panel.primary.label)
    n_columns = max(1, min(len(curves), 2 * len(panels)))
    figure.legend(curves.values(), curves.keys(), loc="lower center", ncols=n_columns, frameon=False)
    # Fixed margins, in inches: a layout that is computed takes longer than all the rest of a small run's end.
    below, right = 0.55 + 0.25 * ceil(len(curves) / n_columns), 0.15 if shared else 0.65
    figure.subplots_adjust(
        left=0.65 / width, right=1 - right / width, bottom=below / height, top=1 - 0.35 / height,
        wspace=0.12 if shared else 0.4,
    )  # fmt: skip
    figure.savefig(path, dpi=144)


def _draw(axis: Any, panel: Panel) -> dict[str, Any]:
    """Draws one run and returns its curves by their labels."""
    curves = _curve(axis, panel, panel.primary.name, panel.primary.label, "-", BLUE)
    attacked = any(line.get(key) is not None for line in panel.rounds for key in ATTACK_CURVES)
    shares = axis if panel.primary.is_share or not attacked else axis.twinx()
    for key, (label, style) in ATTACK_CURVES.items():
        curves |= _curve(shares, panel, key, label, style, RED)
    if panel.primary.is_share or attacked:
        shares.set_ylim(-0.02, 1.02)
    axis.set_title(panel.title, fontsize=10, parse_math=False)
    axis.set_xlabel("round")
    axis.grid(alpha=0.25)
    axis.xaxis.get_major_locator().set_params(integer=True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    return curves


def _curve(axis: Any, panel: Panel, key: str, label: str, style: str, colour: str) -> dict[str, Any]:
    """Draws one figure over the rounds; nothing where it is not known for all that were evaluated."""
    evaluated = [line for line in panel.rounds if NOT_EVALUATED not in line]
    values = [line.get(key) for line in evaluated]
    if not values or any(value is None for value in values):
        return {}
    numbers = [line["round"] for line in evaluated]
    marker = "o" if style == "-" else None
    (curve,) = axis.plot(numbers, values, style, color=colour, marker=marker, ms=3)
    return {label: curve}
