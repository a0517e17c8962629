"""FoolsGold: clients whose updates point the same way round after round share one vote.

Source: Fung, Yoon and Beschastnikh, "The Limitations of Federated Learning in Sybil Settings", RAID 2020
(arXiv 1808.04866), and its official code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.strategies.aggregators._client_scores import score_report
from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range
from hauberk.strategies.kernels.angles import cosine_distances
from hauberk.strategies.kernels.chunks import SLICE, Updates, finite, working
from hauberk.strategies.kernels.norms import scaled_sum
from hauberk.strategies.requirements import check_layout_size, output_layer

_EPSILON = 1e-5


@dataclass(frozen=True, kw_only=True)
class FoolsGold(Rule):
    """Weighs each update by how much its client's history differs from that of every other client.

    A client's history is the sum of its updates so far, restricted to the output layer where ``context`` has a
    layout with a matrix (the paper's indicative features). Similarities are cosines; an honest client that
    resembles a group is pardoned. One attacker alone has nobody to resemble and is not found, and IID clients
    resemble each other. A long update counts for as much as it is long: put ``clip`` before it.

    Args:
        confidence: kappa, which scales the weights before they are cut to [0, 1]; the paper's 1.
        divided: whether the sum is divided by the sum of the weights. The paper's code does not, which suits
            gradients with a learning rate of one's own; ours are updates, hence the default.
    """

    remembers_clients: ClassVar[bool] = True

    confidence: float = 1.0
    divided: bool = True

    def __post_init__(self) -> None:
        check_range(self, "confidence", above=0)
        if not isinstance(self.divided, bool):
            raise ValueError(f"FoolsGold.divided must be true or false, got {self.divided!r}.")

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params].

        ``state`` is {"client_ids": all clients ever seen, "history": their sums [n_seen, n_features]}; those
        who are absent stay in it.

        Raises:
            ValueError: if the layout of ``context`` does not fit the rows or the state.
        """
        self.admit(updates)
        context = context or AggregationContext()
        ids = context.ids(len(updates))
        place = slice(0, updates.shape[1])
        if context.layout is not None and any(len(slot.shape) > 1 for slot in context.layout):
            weight_slot, bias = output_layer(check_layout_size(self, context.layout, updates))
            place = slice(weight_slot.start, (bias or weight_slot).stop)
        seen, history = update_history(updates, place, ids, state)
        scores = foolsgold_weights(cosine_distances(history[: len(updates)]), self.confidence)
        weight = scores / scores.sum()
        update = scaled_sum(updates, weight if self.divided else scores)
        report = score_report("foolsgold", scores, context)
        return Aggregation(update, weight, {"client_ids": seen, "history": history}, report)


def foolsgold_weights(distances: Tensor, confidence: float = 1.0) -> Tensor:
    """Returns the weight of each client, in [0, 1], shape [n_clients]; the largest is 1.

    With cs_ij = cos(H_i, H_j) and m_i = max_j cs_ij + 1e-5: cs_ij <- cs_ij m_i / m_j where m_i < m_j; then
    w_i = 1 - max_j cs_ij over the largest of them, 1 becoming .99; then ln(w / (1 - w) + 1e-5) + .5 times
    ``confidence``, cut to [0, 1]. Where all are each other's copies (the code divides by 0) all weigh 1.

    Args:
        distances: 1 - cs, shape [n_clients, n_clients].
        confidence: kappa.
    """
    cosines = (1 - distances).fill_diagonal_(0)
    largest = cosines.amax(dim=1) + _EPSILON
    cosines *= (largest[:, None] / largest).clamp_(max=1)
    weight = (1 - cosines.amax(dim=1)).clamp_(0, 1)
    if not weight.any():
        return torch.ones_like(weight)
    weight /= weight.max()
    weight[weight == 1] = 0.99
    return (confidence * ((weight / (1 - weight) + _EPSILON).log_() + 0.5)).clamp_(0, 1)


def update_history(
    updates: Updates, place: slice, ids: tuple[int, ...], state: State | None
) -> tuple[list[int], Tensor]:
    """Returns all client ids and their histories [n_seen, n_features]: first ``ids``, then the absent.

    Raises:
        ValueError: if the histories in ``state`` have another length than the columns in ``place``.
    """
    known: list[int] = list((state or {}).get("client_ids", ()))
    rows = {client_id: row for row, client_id in enumerate(known)}
    absent = [client_id for client_id in known if client_id not in ids]
    n_features = place.stop - place.start
    like = working(updates[:, :0])
    old: Tensor = state["history"] if state else like.new_zeros(0, n_features)
    if old.shape[1] != n_features:
        raise ValueError(f"FoolsGold has histories of {old.shape[1]} features, the rows have {n_features}.")
    history = like.new_empty(len(ids) + len(absent), n_features)
    for start in range(0, n_features, SLICE):
        part = slice(start, min(start + SLICE, n_features))
        history[: len(ids), part] = updates[:, place.start + part.start : place.start + part.stop]
        for row, client_id in enumerate(ids):
            if client_id in rows:  # two huge values may not have a finite sum
                finite(history[row, part].add_(old[rows[client_id], part]))
        history[len(ids) :, part] = old[[rows[client_id] for client_id in absent], part]
    return [*ids, *absent], history
