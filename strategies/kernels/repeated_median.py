"""A robust line through each column's sorted values: repeated medians of slopes, whole rows at a time.

Source: Siegel, "Robust Regression Using Repeated Medians", Biometrika 1982: the slope is the median over i of
the median over j of (y_i - y_j) / (i - j).
"""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.strategies.kernels.sorting_networks import OrderStatistics

_BUFFER = 1 << 20  # numbers; the slopes of all pairs in so many columns at a time stay in the cache


class Medians:
    """The median of every column of slices of equal height, with the smallest rows left out if asked.

    Args:
        n_rows: the height of the slices.
        like: a tensor of their dtype and device.
        width: their largest width.
        lower: of two middle values take the lower one, not their mean.
        skip: how many of the smallest values to leave out.
        buffers: shape [n_rows + 1, width], to share with others that are not called at the same time.
    """

    def __init__(
        self,
        n_rows: int,
        like: Tensor,
        width: int,
        *,
        lower: bool,
        skip: int = 0,
        buffers: Tensor | None = None,
    ) -> None:
        low, high = skip + (n_rows - skip - 1) // 2, skip + (n_rows - skip) // 2
        self._ranks = (low,) if lower or low == high else (low, high)
        self._statistics = OrderStatistics(n_rows, self._ranks, like, width, buffers=buffers)

    def __call__(self, rows: Tensor) -> Tensor:
        """Returns the medians of ``rows`` [n_rows, width], shape [width], as a new tensor."""
        middle = self._statistics(rows)
        return middle[0].clone() if len(middle) == 1 else (middle[0] / 2).add_(middle[1], alpha=0.5)


class RepeatedMedian:
    """The slopes of the lines through sorted columns, in buffers that are allocated once.

    Args:
        n_rows: how many values a column has, at least 2; the i-th stands at i.
        like: a tensor of the dtype and device of the columns.
        width: the most columns at a time.
        lower: of two middle values take the lower one, not their mean.
        buffers: shape [n_rows + 1, width], to share with others that are not called at the same time.
    """

    def __init__(
        self, n_rows: int, like: Tensor, width: int, *, lower: bool, buffers: Tensor | None = None
    ) -> None:
        # No more than twice the size of a slice, so that few columns need little memory.
        self._step = max(1, min(width, _BUFFER // n_rows**2, 2 * width // n_rows + 1))
        self._inner = Medians(n_rows - 1, like, n_rows * self._step, lower=lower)
        self._outer = Medians(n_rows, like, width, lower=lower, buffers=buffers)
        self._slopes = like.new_empty((n_rows - 1, n_rows * self._step))
        self._medians = like.new_empty((n_rows, width))
        self._twice = like.new_empty((2 * n_rows, self._step))
        place = torch.arange(n_rows, device=like.device)
        # Row r - 1 of the slopes pairs each value i with the value (i + r) mod n.
        gaps = torch.stack([(place + r) % n_rows - place for r in range(1, n_rows)])
        self._inverse = (1 / gaps.double()).to(like.dtype)[:, :, None]

    def __call__(self, ordered: Tensor) -> Tensor:
        """Returns the slope of each column of ``ordered`` [n_rows, width], each ascending, shape [width]."""
        n_rows, width = ordered.shape
        medians = self._medians[:, :width]
        for start in range(0, width, self._step):
            part = ordered[:, start : start + self._step]
            size = part.shape[1]
            twice = self._twice[:, :size].copy_(part.repeat(2, 1))
            slopes = self._slopes[:, : n_rows * size]
            for r in range(1, n_rows):
                between = slopes[r - 1].view(n_rows, size)
                torch.sub(twice[r : r + n_rows], twice[:n_rows], out=between).mul_(self._inverse[r - 1])
            medians[:, start : start + size] = self._inner(slopes).view(n_rows, size)
        return self._outer(medians)


def ranks(rows: Tensor) -> Tensor:
    """Returns each value's rank in its column, from 0, shape [n_rows, width]; ties in the order of the rows."""
    n_rows = len(rows)
    dtype = torch.uint8 if n_rows <= 256 else torch.int16
    later = torch.arange(n_rows - 1, -1, -1, dtype=dtype, device=rows.device)
    counts = later[:, None].repeat(1, rows.shape[1])  # as if each were above all that come after it
    above = torch.empty(rows.shape, dtype=torch.bool, device=rows.device)
    for lag in range(1, n_rows):
        higher = torch.le(rows[:-lag], rows[lag:], out=above[lag:]).view(torch.uint8)
        counts[lag:] += higher
        counts[:-lag] -= higher
    return counts
