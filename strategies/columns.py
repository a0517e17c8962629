"""Reads a matrix of updates a slice of columns at a time, so that no rule needs a second matrix."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

SLICE = 1 << 16  # columns; 20 float32 rows of it are 5 MiB


def columns(updates: Tensor, size: int = SLICE) -> Iterator[tuple[slice, Tensor]]:
    """Yields (columns, part): every part of ``updates`` has shape [n_clients, <= size].

    Parts are views wherever they can be: write to none of them.
    """
    for start in range(0, updates.shape[1], size):
        part = slice(start, min(start + size, updates.shape[1]))
        yield part, updates[:, part]


def weighted_sum(updates: Tensor, weight: Tensor) -> Tensor:
    """Returns ``weight`` [n_clients] times ``updates`` [n_clients, n_params], shape [n_params].

    Each row is scaled before it is added, so that huge finite rows cannot overflow a mean.
    """
    total = updates.new_empty(updates.shape[1])
    for part, rows in columns(updates):
        wide = rows if rows.dtype == torch.float64 else rows.float()
        total[part] = weight.to(wide) @ wide
    return total
