"""Manhattan distances between client updates, a slice of columns at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates, sum_of_slices
from hauberk.strategies.kernels.distances import widened


def manhattan_distances(updates: Updates) -> Tensor:
    """Returns the sum of the absolute differences of every two rows, [n_clients, n_clients], in float64."""

    def distances(_: slice, rows: Updates) -> Tensor:
        total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
        for _, wide in widened(rows):
            total += torch.cdist(wide, wide, p=1)
        return total

    return sum_of_slices(updates, distances)
