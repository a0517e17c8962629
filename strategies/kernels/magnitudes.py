"""Exact order statistics of one long vector without a copy of it: counts of the bits, half a word at a time.

The magnitudes of floating-point numbers sort as the integers that their bits spell, so two histograms of
65,536 counts find any order statistic of a float32 vector (four that of a float64 one). A sort or a partition
would need a second vector.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

_SLICE = 1 << 18
_DIGIT = 1 << 16


def kth_magnitude(values: Tensor, rank: int) -> float:
    """Returns the absolute value of ``rank``, from 0, among those of ``values``, shape [n], float32 or 64."""
    width = values.dtype.itemsize * 8
    prefix = 0
    for shift in range(width - 16, -1, -16):
        counts = np.zeros(_DIGIT, dtype=np.int64)
        for words in _magnitude_words(values):
            if shift < width - 16:
                words = words[words >> (shift + 16) == prefix]
            counts += np.bincount((words >> shift & (_DIGIT - 1)).astype(np.intp), minlength=_DIGIT)
        below = counts.cumsum()
        digit = int(below.searchsorted(rank, side="right"))
        rank -= int(below[digit - 1]) if digit else 0
        prefix = prefix << 16 | digit
    return float(np.array(prefix, dtype=f"u{width // 8}").view(f"f{width // 8}"))


def median_magnitude(values: Tensor, *, positive: bool = False) -> float:
    """Returns the median of the absolute ``values`` [n], the mean of the two middle ones; 0 of none.

    Args:
        values: float32 or float64.
        positive: leave those that are 0 out.
    """
    skipped = sum(int((part == 0).sum()) for part in values.split(_SLICE)) if positive else 0
    n = len(values) - skipped
    if n == 0:
        return 0.0
    low = kth_magnitude(values, skipped + (n - 1) // 2)
    return low if n % 2 else low / 2 + kth_magnitude(values, skipped + n // 2) / 2


def top_magnitudes(values: Tensor, k: int) -> Tensor:
    """Returns where the ``k`` largest absolute ``values`` [n] are, ascending, shape [k]; ties go to the first."""
    floor = kth_magnitude(values, len(values) - k)
    above: list[np.ndarray] = []
    ties: list[np.ndarray] = []
    for start, part in zip(range(0, len(values), _SLICE), values.split(_SLICE), strict=True):
        size = np.abs(part.cpu().numpy())
        above.append(np.flatnonzero(size > floor) + start)
        ties.append(np.flatnonzero(size == floor)[:k] + start)
    found = np.concatenate(above)
    found = np.concatenate([found, np.concatenate(ties)[: k - len(found)]])
    found.sort()
    return torch.from_numpy(found).to(values.device)


def _magnitude_words(values: Tensor) -> Iterator[np.ndarray]:
    """Yields the bits of ``values`` without their signs, a slice at a time."""
    width = values.dtype.itemsize * 8
    for part in values.split(_SLICE):
        words: np.ndarray = part.cpu().numpy().view(f"u{width // 8}")
        yield words & ((1 << width - 1) - 1)
