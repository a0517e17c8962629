"""Gaussian noise on a vector, drawn a slice at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import SLICE, finite, working


def add_gaussian(vector: Tensor, std: float, rng: torch.Generator) -> None:
    """Adds N(0, std^2) to every entry of ``vector`` [n_params], in place; draws nothing where std is 0."""
    if std == 0:
        return
    for part in vector.split(SLICE):
        normal = torch.randn(len(part), generator=rng, device=rng.device)
        part.copy_(finite((working(part) + std * normal.to(working(part))).to(part.dtype)))
