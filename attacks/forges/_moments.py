"""Mean and spread of the benign updates, a slice of columns at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import column_chunks


def mean_of(rows: Tensor) -> Tensor:
    """Returns the mean [d] of ``rows`` [n, d]."""
    return mean_and_std(rows)[0]


def mean_and_std(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the mean [d] of ``rows`` [n, d] and their standard deviation [d], that of a whole population."""
    mean, std = torch.empty_like(rows[0]), torch.empty_like(rows[0])
    for part, values in column_chunks(rows):
        wide = values.double()
        centre = wide.mean(dim=0)
        mean[part] = centre.to(mean.dtype)
        std[part] = (wide - centre).square_().mean(dim=0).sqrt_().to(std.dtype)
    return mean, std


def products(rows: Tensor, centre: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Returns <centre - x_k, direction> and ||centre - x_k||^2 for each of ``rows`` x_k [n, d], float64 [n] each."""
    inner = torch.zeros(len(rows), dtype=torch.float64)
    squared = torch.zeros(len(rows), dtype=torch.float64)
    for part, values in column_chunks(rows):
        apart = centre[part].double() - values.double()
        inner += (apart @ direction[part].double()).cpu()
        squared += apart.square_().sum(dim=1).cpu()
    return inner, squared


def dot(first: Tensor, second: Tensor) -> float:
    """Returns the inner product of two vectors [d], summed in float64."""
    total = 0.0
    for part, values in column_chunks(first[None]):
        total += float(values[0].double() @ second[part].double())
    return total


def repeated(row: Tensor, like: Tensor) -> Tensor:
    """Returns ``row`` [d] once for each row of ``like`` [m, d], in new memory."""
    return row.to(like.dtype).expand_as(like).clone()
