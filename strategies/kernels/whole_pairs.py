"""The k largest squared differences of single pairs of rows, from their whole differences."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import SLICE, Updates, working
from hauberk.strategies.kernels.threads import in_threads


def whole_sums(
    updates: Updates, pairs: Iterable[tuple[int, int]], k: int, inverse: Tensor | None = None
) -> list[float]:
    """Returns for each of ``pairs`` of rows the sum of its ``k`` largest squared differences.

    Args:
        updates: shape [n_clients, n_params].
        pairs: two rows each.
        k: how many of the n_params differences count, 1 <= k <= n_params.
        inverse: what each difference is multiplied by first, > 0, shape [n_params]; by default 1.
    """

    def whole(pair: tuple[int, int]) -> float:
        return _sum_of_largest(_difference(updates, *pair, inverse), k)

    return in_threads(whole, pairs)


def _difference(updates: Updates, p: int, q: int, inverse: Tensor | None) -> Tensor:
    """Returns the absolute difference of two rows, shape [n_params]; a vector, not a matrix."""
    difference = (working(updates[p]) - working(updates[q])).abs_()
    return difference if inverse is None else difference.mul_(inverse)


def _sum_of_largest(values: Tensor, k: int) -> float:
    """Returns the sum of the squares of the ``k`` largest of ``values``, which are not kept in order."""
    # NumPy partitions in place; torch.topk would pair each value with an index of 8 bytes.
    array = values.cpu().numpy()
    if k < len(array):
        array.partition(len(array) - k)
        array = array[len(array) - k :]
    total = 0.0
    for part in torch.from_numpy(array).split(SLICE):
        # A difference of two huge float32 values may be infinite; its square in float64 need not be.
        wide = part.double().clamp_(max=torch.finfo(values.dtype).max)
        total += float(wide @ wide)
    return total
