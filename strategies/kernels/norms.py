"""Norms of the updates, and sums of updates scaled by them, with float64 accumulation."""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates, finite, sum_of_slices
from hauberk.strategies.kernels.distances import over_widened, sum_of_squares


def row_norms(updates: Updates) -> Tensor:
    """Returns the Euclidean norm of each row, shape [n_clients], in float64."""
    return sum_of_slices(updates, lambda _, rows: sum_of_squares(rows, lambda _, wide: wide)).sqrt_()


def median_of(values: Tensor) -> float:
    """Returns the median of ``values`` [n]: the mean of the two middle ones where n is even."""
    middle = values.sort().values[(len(values) - 1) // 2 : len(values) // 2 + 1]
    return float((middle / len(middle)).sum())


def clip_factors(norms: Tensor, bound: float) -> Tensor:
    """Returns min(1, bound / norm) for each of ``norms`` [n_clients]; 1 for a norm of 0."""
    return torch.where(norms > bound, bound / norms, 1.0)


def scaled_sum(updates: Updates, scale: Tensor) -> Tensor:
    """Returns ``scale`` [n_clients] times ``updates`` [n_clients, n_params], shape [n_params].

    Unlike ``weighted_sum`` it multiplies in float64, so that a scale of 1e-40 for a row of 1e40 keeps its
    digits. What is too large for the type of the rows becomes its largest finite value.
    """
    total = torch.empty(updates.shape[1], dtype=updates.dtype, device=updates.device)
    scale = scale.double()

    def add(part: slice, wide: Tensor) -> None:
        total[part] = finite((scale @ wide).to(total.dtype))

    over_widened(updates, add)
    return total
