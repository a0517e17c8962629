"""The picture of a run: accuracy, attack success rate and its floor over the rounds."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CURVES = {
    "accuracy": ("accuracy", "#1b6ca8", "-"),
    "attack_success_rate": ("attack success rate", "#c0392b", "-"),
    "attack_success_natural": ("its natural rate (attack-free twin)", "#c0392b", "--"),
    "attack_success_floor": ("its floor (clean texts)", "#c0392b", ":"),
}


def can_draw() -> bool:
    """Whether matplotlib is installed, which a machine that only trains can do without."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_curves(path: Path, rounds: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draws the metrics of one run over its rounds into ``path``."""
    draw_panels(path, [(title, rounds)])


def draw_panels(path: Path, runs: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]) -> None:
    """Draws several runs, each a title and its rounds, side by side on the same axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(runs) + 0.6, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    for panel, (title, rounds) in zip(panels, runs, strict=True):
        _draw(panel, title, rounds)
    panels[0].set_ylabel("share of test samples")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=144)


def _draw(panel: Any, title: str, rounds: Sequence[Mapping[str, Any]]) -> None:
    numbers = [line["round"] for line in rounds]
    for key, (label, colour, style) in CURVES.items():
        values = [line.get(key) for line in rounds]
        if all(value is not None for value in values):
            panel.plot(
                numbers, values, style, color=colour, label=label, marker="o" if style == "-" else None, ms=3
            )
    panel.set_title(title, fontsize=10)
    panel.set_xlabel("round")
    panel.set_ylim(-0.02, 1.02)
    panel.grid(alpha=0.25)
    panel.xaxis.get_major_locator().set_params(integer=True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
