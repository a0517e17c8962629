"""Balls around a point in parameter space, and the way back into them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Parameters = Mapping[str, nn.Parameter]


def distance(parameters: Parameters, centre: Mapping[str, Tensor]) -> Tensor:
    """Returns the L2 distance of all ``parameters`` from ``centre``, a scalar; its gradient at 0 is 0."""
    norms = [torch.linalg.vector_norm(value - centre[name]) for name, value in parameters.items()]
    return torch.linalg.vector_norm(torch.stack(norms))


@torch.no_grad()
def into_sphere(parameters: Parameters, centre: Mapping[str, Tensor], radius: float) -> None:
    """Pulls ``parameters`` straight towards ``centre`` until their L2 distance is at most ``radius``."""
    length = float(distance(parameters, centre))
    if length > radius:
        for name, value in parameters.items():
            value.copy_(centre[name] + (value - centre[name]) * (radius / length))


@torch.no_grad()
def into_cube(parameters: Parameters, centre: Mapping[str, Tensor], radius: float) -> None:
    """Clips every coordinate of ``parameters`` to within ``radius`` of ``centre``."""
    for name, value in parameters.items():
        value.copy_(centre[name] + (value - centre[name]).clamp(-radius, radius))
