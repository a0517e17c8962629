"""Masks over a model's coordinates: which of its numbers may change, for attacks, plugins and repairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from hauberk.tasks.errors import UserError

CHUNK = 1 << 22  # numbers looked at together
BINS = 1 << 16  # of a histogram of 16 bits


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

    Magnitudes are ordered as the integers that their bits spell. A histogram of the upper halves of the bits
    finds the bin and one of the lower halves the number in it: two passes in the memory of one chunk, where a
    sort would need several copies of the model.

    Raises:
        ValueError: if there are fewer than ``k`` numbers, or ``k`` is below 1.
    """
    n = sum(values.numel() for values in tensors)
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the {n} numbers there are, got {k}.")
    upper, left = _bin_from_above((bits >> 16 for bits in _magnitudes(tensors)), k)
    inside = (bits[bits >> 16 == upper] & 0xFFFF for bits in _magnitudes(tensors))
    lower, _ = _bin_from_above(inside, left)
    return torch.tensor(upper << 16 | lower, dtype=torch.int32).view(torch.float32).item()


def _magnitudes(tensors: Sequence[Tensor]) -> Iterator[Tensor]:
    for values in tensors:
        for chunk in values.detach().float().flatten().split(CHUNK):
            yield chunk.view(torch.int32) & 0x7FFFFFFF  # without the sign


def _bin_from_above(halves: Iterable[Tensor], k: int) -> tuple[int, int]:
    """Returns which of 2^16 numbers is the ``k``-th largest of ``halves``, and its place among its equals."""
    counts = sum(torch.bincount(half, minlength=BINS).cpu() for half in halves)
    assert isinstance(counts, Tensor)
    so_far = counts.flip(0).cumsum(0)
    place = int((so_far < k).sum())
    return BINS - 1 - place, k - (int(so_far[place - 1]) if place else 0)
