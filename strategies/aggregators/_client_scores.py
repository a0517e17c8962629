"""What the rules share that give each client a score: who is selected by it, and how it is reported."""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.strategies.base import AggregationContext, TooFewClientsError


def equal_weights(scores: Tensor, n_selected: int, context: AggregationContext | None = None) -> Tensor:
    """Returns 1 / n_selected for the lowest ``scores`` [n_clients] and 0 for the others; ties by client id."""
    by_id = (context or AggregationContext()).by_id(len(scores)).to(scores.device)
    weight = torch.zeros_like(scores)
    weight[by_id[scores[by_id].argsort(stable=True)[:n_selected]]] = 1 / n_selected
    return weight


def score_report(rule: str, scores: Tensor, context: AggregationContext | None) -> dict[str, float]:
    """Returns the score of each client under the name "rule/score/client id"."""
    ids = (context or AggregationContext()).ids(len(scores))
    return {f"{rule}/score/{client_id}": float(score) for client_id, score in zip(ids, scores, strict=True)}


def check_neighbours(rule: object, n_malicious: int, n_clients: int) -> None:
    """Raises TooFewClientsError unless every client has a neighbour: 2f + 2 < n_clients."""
    if not 2 * n_malicious + 2 < n_clients:
        raise TooFewClientsError(
            f"{type(rule).__name__} needs 2f + 2 < n_clients, got f={n_malicious} and n_clients={n_clients}."
        )
