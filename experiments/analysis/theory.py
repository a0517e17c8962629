"""What theory predicted of a finished run whose liars are known, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hauberk.experiments.runner.records import read_rounds, read_run
from hauberk.strategies.analysis.theory import predicted_error, simulated_error
from hauberk.tasks.errors import UserError

STRENGTHS = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5, 2.0)
N_PARAMS = 400  # of the simulated model: enough for the shape of the curves, quick to simulate
KINDS = {"CV-like: every dimension shifted": 1.0, "NLP-like: one dimension in fifty": 0.02}


def show_theory(console: Console, folder: Path) -> None:
    """Shows and draws predicted against observed detection errors of a run whose liars are known.

    Raises:
        UserError: there is no such run, or nobody lied in it.
    """
    _, summary = read_run(folder)
    rounds = [line for line in read_rounds(folder) if "theory/predicted_error" in line["forensics"]]
    if not rounds:
        raise UserError(
            f"{folder}: no round has a detection error to explain: nobody lied, or server.forensics.every is 0"
        )
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in (
        "round",
        "kappa 50 %",
        "99 %",
        "99.9 %",
        "share of top 0.1 %",
        "predicted",
        "observed",
        "Krum rank",
    ):
        table.add_column(heading, justify="right")
    for line in rounds:
        table.add_row(str(line["round"]), *_figures(line["forensics"]))
    console.print(table, highlight=False)
    path = folder / "theory.png"
    draw_theory(path, rounds, f"{summary['name']}: {summary['aggregator']}")
    console.print(f"plot: {path}", highlight=False)


def _figures(found: Mapping[str, float]) -> list[str]:
    shares = [f"{found[f'theory/kappa_q{q}']:.2f}" for q in ("0.5", "0.99", "0.999")]
    errors = [f"{found[f'theory/{key}_error']:.2f}" for key in ("predicted", "observed")]
    return [*shares, f"{found['theory/top_share']:.2f}", *errors, f"{found['theory/krum_rank']:.0f}"]


def draw_theory(path: Path, rounds: Sequence[Mapping[str, Any]], title: str, n_clients: int = 10) -> None:
    """Draws the run's rounds, and the bound beside a simulation for strong and sparse shifts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    run, curves = figure.subplots(1, 2)
    for key, style in {"predicted": "o-", "expected": "^:", "observed": "s--"}.items():
        values = [line["forensics"][f"theory/{key}_error"] for line in rounds]
        label = "bound" if key == "predicted" else key
        run.plot([line["round"] for line in rounds], values, style, label=label, ms=4)
    run.set(title=title, xlabel="round", ylabel="P(liar looks clean)", ylim=(-0.03, 1.03))
    for colour, (label, share) in zip(("#1b6ca8", "#c0392b"), KINDS.items(), strict=True):
        strong = max(1, int(share * N_PARAMS))
        bound = [predicted_error(kappa, strong, N_PARAMS, n_clients) for kappa in STRENGTHS]
        rng = torch.Generator().manual_seed(0)
        seen = [simulated_error(kappa, strong, N_PARAMS, n_clients, 200, rng) for kappa in STRENGTHS]
        curves.plot(STRENGTHS, bound, "-", color=colour, label=f"{label}, bound")
        curves.plot(STRENGTHS, seen, "o", color=colour, ms=4, label="simulated")
    curves.set(
        title=f"{N_PARAMS} dimensions, {n_clients} clients", xlabel="strength kappa", ylim=(-0.03, 1.03)
    )
    for panel in (run, curves):
        panel.legend(frameon=False, fontsize=8)
        panel.grid(alpha=0.25)
    figure.savefig(path, dpi=144)
