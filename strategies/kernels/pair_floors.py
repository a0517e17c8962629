"""Floors that only the largest differences of two rows exceed, told from a sample of their columns."""

from __future__ import annotations

import numpy as np
import torch

_SAMPLE = 1 << 15  # columns
_BLOCK = 16  # sampled columns of which only the largest difference counts
_PART = 1 << 13  # sampled columns whose differences are taken together
_NOTHING = 2.0**-40  # the squares of what is smaller than this share of the largest difference do not count
_STEPS = 6
_SLACK = 2.0**-20  # sums and products of float32 are rounded by less


def sampled_columns(n_params: int) -> torch.Tensor:
    """Returns some columns, ascending: a random one from each of equal stretches of a row."""
    rng = torch.Generator().manual_seed(0)  # no result depends on it, only the time does
    places = torch.arange(_SAMPLE) + torch.rand(_SAMPLE, dtype=torch.float64, generator=rng)
    return places.mul_(n_params / _SAMPLE).long().clamp_(max=n_params - 1)


def pair_floors(sample: np.ndarray, inverse: np.ndarray | None, share: float) -> np.ndarray:
    """Returns a floor > 0 for each pair of rows, [n_rows, n_rows], symmetric, infinite on the diagonal.

    It is what 3 standard deviations more than the wanted share of the sampled differences exceed: for a thousandth
    1.6 times as many. Where that is nothing, because most differences are 0, nearly all others exceed it.

    Args:
        sample: the sampled columns of the rows, shape [n_rows, n_sampled].
        inverse: what each difference is multiplied by, > 0, shape [n_sampled], or None for 1.
        share: which share of all differences of a pair must exceed its floor.
    """
    expected = share * sample.shape[1]
    rank = int(expected + 3 * expected**0.5 + 3)
    floors = np.full((len(sample), len(sample)), np.inf, dtype=sample.dtype)
    limits = np.finfo(sample.dtype)
    for p in range(len(sample) - 1):
        maxima = _block_maxima(sample[p + 1 :], sample[p], inverse)
        maxima.partition(maxima.shape[1] - rank, axis=1)
        floor = maxima[:, -rank] * (1 - _SLACK)
        np.maximum(floor, maxima.max(axis=1) * _NOTHING, out=floor)
        floors[p, p + 1 :] = floors[p + 1 :, p] = floor.clip(limits.tiny, limits.max)
    return floors


def thresholds(floors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a number for each upper and each lower row, as large as they can be: upper_p + lower_q <= floor_pq.

    Args:
        floors: shape [n_upper, n_lower]; infinite for pairs that do not count, but for no whole row or column.
    """
    limits = np.finfo(floors.dtype)
    wide = np.minimum(floors.astype(np.float64) * (1 - _SLACK), np.finfo(np.float64).max / 4)
    upper, lower = np.median(wide, axis=1) / 2, np.median(wide, axis=0) / 2
    for bound in (np.median,) * _STEPS + (
        np.min,
    ) * _STEPS:  # first what suits most pairs, then what suits all
        most = bound(wide - lower, axis=1), bound(wide - upper[:, None], axis=0)
        upper, lower = (upper + most[0]) / 2, (lower + most[1]) / 2
    # The last step makes one after the other as large as it may be, whatever was rounded so far.
    upper = _rounded_down((wide - lower).min(axis=1), limits)
    lower = _rounded_down((wide - upper[:, None]).min(axis=0), limits)
    return upper, lower


def _block_maxima(rows: np.ndarray, row: np.ndarray, inverse: np.ndarray | None) -> np.ndarray:
    """Returns the largest absolute difference to ``row`` in each block of columns, shape [n_rows, n_blocks]."""
    maxima = []
    for start in range(0, len(row), _PART):
        part = slice(start, start + _PART)
        differences = rows[:, part] - row[part]
        np.abs(differences, out=differences)
        if inverse is not None:
            differences *= inverse[part]
        # The columns of a block lie far apart: neighbours are often large together.
        maxima.append(differences.reshape(len(rows), _BLOCK, -1).max(axis=1))
    return np.concatenate(maxima, axis=1)


def _rounded_down(values: np.ndarray, limits: np.finfo) -> np.ndarray:
    return (values - np.abs(values) * _SLACK).clip(limits.min, limits.max).astype(limits.dtype)
