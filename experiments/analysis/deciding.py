"""What decided about one client in one round: in which tensors and tokens its update lies far from the round's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.experiments.runner.replay import Line, Replay
from hauberk.experiments.runner.setup import Prepared
from hauberk.server import update_store
from hauberk.server.update_store import KeptRound
from hauberk.strategies.layout import Layout
from hauberk.strategies.starting import keeps_models_apart
from hauberk.tasks.text.word_rows import word_table

STRONGEST = 1e-3  # the share of the coordinates that Dim-Krum looks at
TRIGGERED = 50  # texts in which the trigger's tokens are looked for


@dataclass(frozen=True)
class TensorShare:
    """One tensor's part in the distance.

    Attributes:
        distance: between the client's update and the round's in it, L2.
        share: of the whole squared distance.
        strongest: its share of the coordinates in which they differ most.
    """

    name: str
    shape: tuple[int, ...]
    distance: float
    share: float
    strongest: float


@dataclass(frozen=True)
class TokenMove:
    """How far the row of one token in the word table was moved.

    Attributes:
        place: among all tokens by ``distance``, from 1.
        in_trigger: whether the attack's trigger puts this token into texts.
        distance: between the client's row and the round's, L2.
        own: how far the client moved it.
        median: how far the others did, in the middle.
        others: how many of the others moved it at all.
    """

    token: str
    place: int
    in_trigger: bool
    distance: float
    own: float
    median: float
    others: int


@dataclass(frozen=True, eq=False)
class RoundUpdates:
    """What the clients of a round sent, and what came of it.

    Attributes:
        kept: the rows that passed the guard.
        update: the round's own, [n_params].
        whence: how it is known.
        line: what the round recorded, or would today.
    """

    kept: KeptRound
    update: Tensor
    whence: str
    line: Line


def round_updates(run: Replay, number: int, playing: Callable[[str], None]) -> RoundUpdates:
    """Returns the updates of round ``number``: those that were kept, or those of the round played again.

    ``playing`` is told from where, before that begins.
    """
    start, whence = run.nearest(number)
    if update_store.path_of(run.folder, number).exists():
        kept, line = update_store.read(run.folder, number), run.lines[number]
        return RoundUpdates(kept, _aggregated(run.prepared, kept, line), "as they were kept", line)
    whence = f"played again from {whence}"
    playing(whence)
    found: list[KeptRound] = []
    played = list(
        run.play(start, number, lambda rows, known, liars: found.append(KeptRound(rows.updates, known, tuple(liars))))
    )[-1]  # fmt: skip
    return RoundUpdates(found[0], played.state.parameters - played.before, whence, played.line)


def _aggregated(prepared: Prepared, kept: KeptRound, line: Line) -> Tensor:
    """Returns the round's update: the rows by their recorded weights, or what a rule without weights makes of them."""
    if line["weights"] is None or keeps_models_apart(prepared.server.rule):
        return prepared.server.rule(kept.updates, context=kept.context).update
    weights = [line["weights"].get(str(client), 0.0) for client in kept.context.client_ids or ()]
    return torch.tensor(weights) @ kept.updates


def tensor_shares(layout: Layout, row: Tensor, update: Tensor) -> list[TensorShare]:
    """Returns each tensor's part in the distance of ``row`` from ``update``, both [n_params]; the largest first."""
    squares = (row - update).double().square()
    total = float(squares.sum()) or 1.0
    n_strongest = max(1, int(STRONGEST * len(row)))
    strongest = torch.zeros_like(squares, dtype=torch.bool)
    strongest[squares.topk(n_strongest).indices] = True
    shares = []
    for slot in layout:
        part = float(squares[slot.slice].sum())
        among = int(strongest[slot.slice].sum()) / n_strongest
        shares.append(TensorShare(slot.name, slot.shape, part**0.5, part / total, among))
    return sorted(shares, key=lambda one: -one.share)


def token_moves(prepared: Prepared, found: RoundUpdates, client: int, n: int = 12) -> list[TokenMove]:
    """Returns the ``n`` tokens in whose rows ``client`` lies farthest from the round's update, and the trigger's.

    Nothing where the task reads no texts, or the clients do not send their word table.
    """
    if prepared.task.modality != "text" or (table := _sent_table(prepared)) is None:
        return []
    slot = prepared.server.layout[table]
    ids = list(found.kept.context.client_ids or ())
    own = found.kept.updates[ids.index(client)][slot.slice].view(slot.shape)
    distance = (own - found.update[slot.slice].view(slot.shape)).norm(dim=1)
    order, trigger = distance.argsort(descending=True, stable=True).tolist(), trigger_tokens(prepared)
    places = [place for place, token in enumerate(order) if place < n or token in trigger]
    top = [order[place] for place in places]
    moved = torch.stack([row[slot.slice].view(slot.shape)[top].norm(dim=1) for row in found.kept.updates])
    others = torch.cat([moved[: ids.index(client)], moved[ids.index(client) + 1 :]])
    tokenizer = prepared.server.repairs.assets.tokenizer
    return [
        TokenMove(
            tokenizer.token(token),
            places[column] + 1,
            token in trigger,
            float(distance[token]),
            float(own[token].norm()),
            float(others[:, column].quantile(0.5)) if len(others) else 0.0,
            int((others[:, column] > 0).sum()),
        )
        for column, token in enumerate(top)
    ]


def trigger_tokens(prepared: Prepared) -> frozenset[int]:
    """Returns the tokens that the trigger adds to most texts; none where nobody lies or it has no fixed tokens."""
    evaluate: Any = prepared.server.evaluate
    if evaluate.triggered is None or evaluate.rows is None or len(evaluate.rows) != len(evaluate.triggered):
        return frozenset()
    n = min(TRIGGERED, len(evaluate.rows))
    pairs = zip(
        evaluate.clean.take(evaluate.rows[:n]).sequences(),
        evaluate.triggered.take(np.arange(n)).sequences(),
        strict=True,
    )
    added: Counter[int] = Counter()
    for clean, triggered in pairs:
        added.update(set(Counter(triggered.tolist()) - Counter(clean.tolist())))
    return frozenset(token for token, count in added.items() if count > n / 2)


def _sent_table(prepared: Prepared) -> str | None:
    """Returns the name of the word table among the tensors that clients send; None where they do not send it."""
    table = word_table(prepared.server.model)
    sent = {slot.name for slot in prepared.server.layout}
    names = [name for name, value in prepared.server.model.named_parameters() if value is table.weight]
    return next((name for name in names if name in sent), None)
