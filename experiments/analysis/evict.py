"""Eviction: from whom answered texts suffered most often, and the model without these clients' parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from hauberk.experiments.analysis.export import write_model
from hauberk.experiments.analysis.served import ServedModel, read_served
from hauberk.strategies.serving import EvictingServing
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import load_state


def evict_clients(
    console: Console,
    folder: Path,
    texts: Sequence[str | tuple[str, str | None]],
    out: Path | None = None,
    significance: float = 1e-3,
) -> list[int]:
    """Shows whose parts the answers to ``texts`` do without too often, and writes the model without them.

    A client is evicted where so many of the answers would do without its part with a probability below ``significance``
    over the number of vectors if the texts were like the clean ones that calibrated the serving; of several such
    the least likely ones, as many as the rule's n_malicious.

    Args:
        console: where to.
        folder: what `hauberk export` wrote.
        texts: that came in, of which nobody needs to know which carry a trigger.
        out: a new or empty folder for the model, which answers alone; nothing is written where nobody is evicted.
        significance: of all vectors together.

    Returns:
        The ids of the evicted clients.

    Raises:
        UserError: the folder's rule does not evict, there are no texts, or ``significance`` is no probability.
    """
    if not 0 < significance < 1:
        raise UserError(f"--significance: must lie between 0 and 1, got {significance:g}")
    if not texts:
        raise UserError("--input: must hold at least 1 text, got 0")
    served = read_served(folder)
    serving = served.serving
    if not isinstance(serving, EvictingServing):
        raise UserError(f"{folder}: {served.spec.parts.aggregator} leaves nobody out of an answer")
    left_out = served.served(texts).left_out
    chances = serving.unusual(left_out)
    chosen = [
        one for one in chances.argsort(stable=True).tolist() if chances[one] < significance / len(chances)
    ][: serving.most]
    _show(console, serving.clients, left_out, chances, chosen)
    if chosen and out is not None:
        console.print(_written(served, serving.evicted(chosen), out), highlight=False, soft_wrap=True)
    return [client for one in chosen for client in serving.clients[one]]


def _written(served: ServedModel, parameters: Tensor, out: Path) -> str:
    load_state(served.model, parameters)
    return f"{write_model(served.spec, served.labels, served.model, out)}, which answer alone"


def _show(
    console: Console,
    clients: Sequence[tuple[int, ...]],
    left_out: Tensor,
    chances: Tensor,
    chosen: Sequence[int],
) -> None:
    """Prints a line for each vector that some answer does without, most often first."""
    counts = left_out.sum(dim=0).tolist()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("client", "answers without it", "chance", ""):
        table.add_column(heading, justify="left" if heading in ("client", "") else "right")
    for one in sorted(range(len(counts)), key=lambda one: -counts[one]):
        if counts[one]:
            who, verdict = "+".join(map(str, clients[one])), "evicted" if one in chosen else ""
            table.add_row(who, f"{counts[one]} of {len(left_out)}", f"{float(chances[one]):.2g}", verdict)
    console.print(table, highlight=False)
    if not chosen:
        console.print("nobody's part is left out more often than of clean texts: nobody is evicted")
