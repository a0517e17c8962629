"""Geometry of client updates, computed a slice of columns at a time.

A float64 copy of the whole matrix of a language model would not fit in memory, so each slice is widened
alone. Float32 products would be twice as fast, but they miss 1e-6 on heavy-tailed rows and overflow on huge
ones. No pair's distance depends on a third row, so a few huge rows blind nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import SLICE, Updates, column_chunks, narrow, sum_of_slices
from hauberk.strategies.kernels.threads import one_blas_thread, over_slices

_SLICE = 1 << 14  # columns; 20 float64 rows of it still fit in a core's cache
_thread = threading.local()
_DOUBT = 1e-6  # below this share of the norms a difference of products has lost too many digits


def gram_matrix(updates: Updates) -> Tensor:
    """Returns the inner products of the rows, [n_clients, n_clients], in float64."""
    with one_blas_thread():
        gram = sum_of_slices(updates, lambda _, part: _gram(part))
    # The product may round its two halves differently, and then two nearest rows would not tie.
    return gram.triu_().add_(gram.triu(1).T)


def _gram(updates: Updates) -> Tensor:
    gram = torch.zeros(len(updates), len(updates), dtype=torch.float64, device=updates.device)
    for _, wide in widened(updates):
        if wide.is_cuda:
            gram.addmm_(wide, wide.T)
        else:
            rows = wide.numpy()
            with np.errstate(over="ignore", invalid="ignore"):  # what is too large is infinite
                gram += torch.from_numpy(rows @ rows.T)  # NumPy sees that it is symmetric: half the time
    return gram


def squared_distances(updates: Updates, gram: Tensor | None = None) -> Tensor:
    """Returns squared Euclidean distances between rows, [n_clients, n_clients], in float64.

    ``gram`` is what ``gram_matrix(updates)`` gave, where that is known already.

    Exact to 1e-6 relative for every pair: where two rows nearly agree, so that the products cancel, their
    difference is summed directly. Distances too large for float64 are infinite.
    """
    gram = gram_matrix(updates) if gram is None else gram
    norms = gram.diagonal()
    total = norms[:, None] + norms[None, :]
    squared = total - 2 * gram
    doubtful = ~(squared > _DOUBT * total)  # also where the products overflowed into NaN
    pairs = doubtful.triu(diagonal=1).nonzero()
    if len(pairs):
        first, second = pairs.T
        squared[first, second] = squared[second, first] = _direct(updates, first, second)
    return squared.fill_diagonal_(0)


def distances_to(updates: Updates, point: Tensor) -> Tensor:
    """Returns the distance of each row to ``point`` [n_params], shape [n_clients], in float64."""

    def squares(place: slice, rows: Updates) -> Tensor:
        near = point[place]
        return sum_of_squares(rows, lambda part, wide: wide.sub_(near[part].double()))

    return sum_of_slices(updates, squares).sqrt_()


def sum_of_squares(rows: Updates, change: Callable[[slice, Tensor], Tensor]) -> Tensor:
    """Returns each row's sum of squares after ``change``, shape [n_clients], in float64, in one thread."""
    squared = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    for part, wide in widened(rows):
        wide = change(part, wide)
        squared += torch.linalg.vecdot(wide, wide)
    return squared


def _direct(updates: Updates, first: Tensor, second: Tensor) -> Tensor:
    """Returns the squared distance of each pair of rows, shape [n_pairs], from their differences."""
    squared = torch.zeros(len(first), dtype=torch.float64, device=updates.device)
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    for _, wide in widened(updates):
        for index, (p, q) in enumerate(pairs):
            difference = wide[p] - wide[q]
            squared[index] += difference @ difference
    return squared


def widened(updates: Updates) -> Iterator[tuple[slice, Tensor]]:
    """Yields (columns, part) in float64, all in one buffer, which the thread keeps for the next slices.

    Fresh memory would cost as much again as the work in it: the system hands it out page by page, zeroed.
    """
    shape = len(updates), min(_SLICE, updates.shape[1])
    kept, _thread.buffer = getattr(_thread, "buffer", None), None  # so that two at once never share it
    if kept is None or kept.shape != shape or kept.device != updates.device:
        kept = torch.empty(shape, dtype=torch.float64, device=updates.device)
    try:
        for place, part in column_chunks(updates, _SLICE):
            yield place, kept[:, : part.shape[1]].copy_(part)
    finally:
        _thread.buffer = kept


def over_widened(updates: Updates, work: Callable[[slice, Tensor], object]) -> None:
    """Calls ``work`` with (columns, part in float64) for slices of all columns, side by side in threads."""

    def widen(place: slice) -> None:
        for part, wide in widened(narrow(updates, place)):
            work(slice(place.start + part.start, place.start + part.stop), wide)

    over_slices(updates.shape[1], SLICE, lambda: widen)
