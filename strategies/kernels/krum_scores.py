"""Krum's score.

Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS
2017 (arXiv 1703.02757): s(i) = sum over the n - f - 2 nearest j of ||x_i - x_j||^2, squared as in the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
