"""Masks over a model's coordinates: which of its numbers may change, for attacks, plugins and repairs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def learned(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the trainable parameters by name, tied ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def largest(values: Tensor, k: int) -> Tensor:
    """Returns where the ``k`` largest absolute ``values`` [d] are, bool [d]; exactly min(k, d) are true."""
    mask = torch.zeros(len(values), dtype=torch.bool, device=values.device)
    mask[values.abs().topk(min(k, len(values)), sorted=False).indices] = True
    return mask


@torch.no_grad()
def mask_gradients(parameters: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor]) -> None:
    """Clears every gradient outside ``masks``, bool tensors named and shaped as the parameters."""
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            parameter.grad.mul_(masks[name])


@torch.no_grad()
def restore_outside(
    parameters: Mapping[str, nn.Parameter], masks: Mapping[str, Tensor], reference: Mapping[str, Tensor]
) -> None:
    """Gives every coordinate outside ``masks`` its value of ``reference`` back, bit by bit."""
    for name, parameter in parameters.items():
        parameter.copy_(torch.where(masks[name], parameter, reference[name]))
