"""Manhattan distances between client updates, a slice of columns at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates, sum_of_slices
from hauberk.strategies.kernels.distances import widened

ROWS = 8  # whose distances to the rows from theirs on are found at once: each pair is, but for a few, looked at once


def manhattan_distances(updates: Updates) -> Tensor:
    """Returns the sum of the absolute differences of every two rows, [n_clients, n_clients], in float64."""

    def distances(_: slice, rows: Updates) -> Tensor:
        total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
        for _, wide in widened(rows):
            for first in range(0, len(wide), ROWS):
                some = slice(first, first + ROWS)
                total[some, first:] += torch.cdist(wide[some], wide[first:], p=1)
        return total

    upper = sum_of_slices(updates, distances).triu(1)
    return upper + upper.T
