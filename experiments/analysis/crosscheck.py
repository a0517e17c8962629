"""Whom other conventions of the rules would have believed in a kept round of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hauberk.experiments.runner.records import read_run
from hauberk.experiments.spec.components import build
from hauberk.server import update_store
from hauberk.strategies import AGGREGATORS, PRE_AGGREGATORS
from hauberk.strategies.analysis.crosscheck import crosscheck

STRENGTHS = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.5, 2.0)
N_PARAMS = 400  # of the simulated model: enough for the shape of the curves, quick to simulate
KINDS = {"CV-like: every dimension shifted": 1.0, "NLP-like: one dimension in fifty": 0.02}


def show_crosscheck(console: Console, folder: Path, number: int) -> None:
    """Shows whom every convention of every rule would have believed in a kept round.

    Raises:
        UserError: there is no such run, or it kept no updates of this round.
    """
    spec, _ = read_run(folder)
    round_ = update_store.read(folder, number)
    torch.set_num_threads(spec["server"]["threads"])
    section = {key: value for key, value in spec["aggregator"].items() if key != "convention"}
    beliefs = crosscheck(
        round_.updates,
        AGGREGATORS,
        context=round_.context,
        before=[build(stage, PRE_AGGREGATORS) for stage in section["before"]],
        own={section["name"]: section},
        n_malicious=section["n_malicious"],
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("rule", "convention", "weight of the liars", "believed clients"):
        table.add_column(heading, overflow="fold")
    for belief in beliefs:
        liars, clients = _believed(belief.weight, round_.malicious)
        table.add_row(belief.rule, belief.convention, liars, belief.error or clients)
    console.print(
        f"{folder}, round {number}: liars {list(round_.malicious) or 'none'}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    console.print(table, highlight=False)


def _believed(weight: Mapping[int, float] | None, malicious: Sequence[int]) -> tuple[str, str]:
    if weight is None:
        return "-", "no weights"
    liars = sum(weight.get(client, 0.0) for client in malicious)
    return f"{liars:.2f}", " ".join(str(client) for client, value in weight.items() if value > 1e-9)
