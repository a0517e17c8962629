"""Eviction: whose parts answered texts did without too often, and the model without these clients' parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from hauberk.experiments.analysis.export import check_empty, write_model
from hauberk.experiments.analysis.served import ServedModel, read_served
from hauberk.experiments.spec.names import rule_name
from hauberk.strategies.serving import EvictingServing
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import load_state, shift_answers

Texts = Sequence[str | tuple[str, str | None]]


def evict_clients(
    console: Console, folder: Path, texts: Texts, out: Path | None = None, significance: float = 1e-3
) -> list[int]:
    """Shows whose parts the answers to ``texts`` do without too often, and writes the model without them.

    Args:
        console: where to.
        folder: what `hauberk export` wrote.
        texts: that came in, of which nobody needs to know which carry a trigger. Each counts once, however often it
            came: whoever sends one text again and again is to evict nobody.
        out: a new or empty folder for the model, which answers alone; nothing is written where nobody is evicted.
        significance: see `too_often`.

    Returns:
        The ids of the evicted clients.

    Raises:
        UserError: the folder's rule cannot evict, there are no texts, ``significance`` is no probability, or ``out``
            is not empty.
    """
    if not 0 < significance < 1:
        raise UserError(f"--significance: must lie between 0 and 1, got {significance:g}")
    if not texts:
        raise UserError("--input: must hold at least 1 text, got 0")
    if out is not None:
        check_empty(out)
    served = read_served(folder)
    serving = served.serving
    if not isinstance(serving, EvictingServing):
        rule = rule_name(served.spec.parts.aggregator)
        raise UserError(f"{folder}: {rule} evicts nobody, for it keeps no part of each client")
    left_out = served.served(list(dict.fromkeys(texts))).left_out
    chosen = too_often(serving, left_out, significance)
    _show(console, serving, left_out, chosen)
    if chosen and out is not None:
        console.print(_written(served, serving, chosen, out), highlight=False, soft_wrap=True)
    return [client for one in chosen for client in served.serving.clients[one]]


def too_often(serving: EvictingServing, left_out: Tensor, significance: float) -> list[int]:
    """Returns the vectors that too many answers do without, the least likely first and at most the rule's n_malicious.

    Too many are so many that clean texts would come to them with a probability below ``significance`` over the number
    of vectors.

    Args:
        serving: what answered.
        left_out: of answers to different texts, bool [n_texts, m].
        significance: of all vectors together.
    """
    chances = serving.unusual(left_out)
    limit = math.log(significance / len(chances))
    return [one for one in chances.argsort(stable=True).tolist() if chances[one] < limit][: serving.most]


def load_evicted(model: nn.Module, serving: EvictingServing, vectors: Sequence[int]) -> bool:
    """Has ``model`` be the one without ``vectors``, and returns whether its answers are in their old balance, too.

    A client whose classes are not the others' takes some of the balance between classes with it; see
    `hauberk.tasks.parameters.shift_answers` for which models cannot have it back.
    """
    load_state(model, serving.evicted(vectors))
    return shift_answers(model, serving.balance(vectors))


def _written(served: ServedModel, serving: EvictingServing, chosen: Sequence[int], out: Path) -> str:
    balanced = load_evicted(served.model, serving, chosen)
    note = "" if balanced else "; its output layer has no bias, so the balance between classes may have moved"
    return f"{write_model(served.spec, served.labels, served.model, out)}, which answer alone{note}"


def _show(console: Console, serving: EvictingServing, left_out: Tensor, chosen: Sequence[int]) -> None:
    """Prints a line for each vector that some answer does without, most often first."""
    counts, chances = left_out.sum(dim=0).tolist(), serving.unusual(left_out).tolist()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("client", "answers without it", "chance if clean", ""):
        table.add_column(heading, justify="left" if heading in ("client", "") else "right")
    for one in sorted(range(len(counts)), key=lambda one: -counts[one]):
        if counts[one]:
            who, verdict = "+".join(map(str, serving.clients[one])), "evicted" if one in chosen else ""
            chance = f"{math.exp(chances[one]):.2g}"
            table.add_row(who, f"{counts[one]} of {len(left_out)}", chance, verdict)
    console.print(table, highlight=False)
    if not chosen:
        console.print("nobody is evicted: clean texts could explain all of these")
