"""Krum's score, and what the rules that select by a score share.

Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS
2017 (arXiv 1703.02757): s(i) = sum over the n - f - 2 nearest j of ||x_i - x_j||^2, squared as in the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.strategies.base import AggregationContext, TooFewClientsError


def krum_scores(distances: Tensor, n_malicious: int, left_out: int = 2) -> Tensor:
    """Returns each client's sum over its n - f - 2 nearest, shape [n_clients]; lower is more trusted.

    Args:
        distances: squared distances, shape [n_clients, n_clients].
        n_malicious: f.
        left_out: the 2 in n - f - 2.
    """
    # Leaving out the diagonal, not the smallest entry: two equal rows are neighbours at distance 0.
    others = distances.clone().fill_diagonal_(torch.inf)
    n_neighbours = len(distances) - n_malicious - left_out
    return others.topk(n_neighbours, largest=False).values.sum(dim=1)


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
