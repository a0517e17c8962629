"""Weiszfeld's iteration for geometric medians, in inner products alone: no pass over the rows for each step.

Every point it visits is a mixture of the rows, sum_k w_k x_k with weights that sum to 1. Source: Weiszfeld,
"Sur le point pour lequel la somme des distances de n points donnés est minimum", 1937; smoothed as in Pillutla,
Kakade and Harchaoui, "Robust Aggregation for Federated Learning" (arXiv 1912.13445).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.distances import gram_matrix, widened

_FAR = 1e300  # a few of them still add up to a finite number
_DOUBT = 1e-4  # below this share of the norms a centred product has lost too many digits


def centred_gram(updates: Updates, gram: Tensor | None = None) -> Tensor:
    """Returns the inner products of the rows minus the row of median norm, [n_clients, n_clients], float64.

    Around a mean that one huge row has moved, or around a far origin, the others would lose their digits. ``gram``
    is what ``gram_matrix(updates)`` gave, where that is known already.
    """
    gram = _finite(gram_matrix(updates) if gram is None else gram.clone())
    own = gram.diagonal()
    centre = int(own.argsort()[(len(own) - 1) // 2])
    centred = gram - gram[centre] - gram[:, centre, None] + own[centre]
    doubtful = centred.diagonal() <= _DOUBT * (own + own[centre])
    doubtful[centre] = False
    if doubtful.any():
        centred.zero_()
        for _, wide in widened(updates):
            wide -= wide[centre].clone()
            centred.addmm_(wide, wide.T)
    return _finite(centred)


def _finite(gram: Tensor) -> Tensor:
    """Caps in place what overflowed even float64, rows beyond 1e150: such a row is far away, and no more is asked."""
    return gram.nan_to_num_(nan=0.0, posinf=_FAR, neginf=-_FAR).clamp_(-_FAR, _FAR)


def distances_to_mixture(gram: Tensor, weight: Tensor) -> Tensor:
    """Returns the distance of each row to the mixture of all by ``weight``, which sums to 1, [n_clients]."""
    with_mixture = gram @ weight
    squared = gram.diagonal() - 2 * with_mixture + weight @ with_mixture
    return squared.clamp_(min=0).sqrt_()


def step(alpha: Tensor, distances: Tensor, smoothing: float) -> Tensor:
    """Returns the weights of the next point: alpha_k / max(smoothing, distance_k), divided by their sum."""
    weight = alpha / distances.clamp(min=smoothing)
    return weight / weight.sum()


def geometric_median(
    gram: Tensor, alpha: Tensor, start: Tensor, *, max_iterations: int = 500, tolerance: float = 1e-10
) -> tuple[Tensor, Tensor]:
    """Returns the weights of the minimiser of sum_k alpha_k ||v - x_k||, and each row's distance to it.

    It stops when no distance changes by more than ``tolerance`` of itself: the objective would stop too early
    beside a huge row. Distances below 1e-6 of the rows' median distance to the row that the products are centred on
    count as that: inner products cannot tell them apart, and a point would get stuck on a row.

    Args:
        gram: ``centred_gram`` of the rows.
        alpha: how much each row's distance counts, >= 0, shape [n_clients].
        start: the weights of the first point, which sum to 1.
        max_iterations: at most this many steps.
        tolerance: see above.
    """
    weight, distances = start, distances_to_mixture(gram, start)
    # Not the first distances: those are to a mean, which one huge row moves away from all the others.
    smoothing = max(1e-6 * float(gram.diagonal().sqrt().median()), torch.finfo(distances.dtype).tiny)
    for _ in range(max_iterations):
        weight = step(alpha, distances, smoothing)
        before, distances = distances, distances_to_mixture(gram, weight)
        if ((distances - before).abs() <= tolerance * before).all():
            break
    return weight, distances
