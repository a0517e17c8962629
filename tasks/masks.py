"""Masks over a model's coordinates: which of its numbers may change, for attacks, plugins and repairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hauberk.tasks.errors import UserError


def learned(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the trainable parameters by name, tied ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def check_budget(budget: float) -> None:
    """Raises UserError if ``budget`` is neither a share of the numbers, below 1, nor a count, from 1 on."""
    if not budget > 0 or (budget >= 1 and budget != int(budget)):
        raise UserError(f"budget: must be a share below 1 or a whole count, got {budget!r}")


def allowed(budget: float, n: int) -> int:
    """Returns a budget as a count between 1 and ``n``."""
    wanted = int(budget) if budget >= 1 else round(budget * n)
    return min(max(1, wanted), n)


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


def kth_largest(tensors: Sequence[Tensor], k: int) -> float:
    """Returns the ``k``-th largest absolute value, from 1, of all ``tensors`` together, exactly as float32.

    `hauberk.strategies.kernels.magnitudes` does the same without the copy that this makes, for rows of which
    there are many; a client has one model, and neither package knows the other.

    Raises:
        ValueError: if there are fewer than ``k`` numbers, or ``k`` is below 1.
    """
    n = sum(values.numel() for values in tensors)
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the {n} numbers there are, got {k}.")
    sizes = torch.cat([values.detach().float().flatten().cpu() for values in tensors]).abs_().numpy()
    sizes.partition(n - k)
    return float(sizes[n - k])
