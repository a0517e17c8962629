"""Reads a matrix of updates a slice of columns at a time, so that no rule needs a second matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from hauberk.strategies.kernels.threads import in_threads, over_slices

SLICE = 1 << 16  # columns; 20 float32 rows of it are 5 MiB
STRETCH = 1 << 18  # columns of a sum that is added up row by row: 1 MiB
_TINY = 1e-30  # smaller weights, those of huge rows, lose digits in float32


class Mixture:
    """The product of a small matrix and the updates, made a part at a time: never a matrix of its own.

    It answers to ``shape``, ``dtype``, ``device``, ``len`` and to ``[row]`` and ``[:, columns]`` as a tensor
    does, which is all that ``columns`` and the rules that stream need.

    Args:
        updates: the rows to mix, shape [n_clients, n_params].
        mixing: how much each of them counts in each new row, shape [n_rows, n_clients].
    """

    def __init__(self, updates: Updates, mixing: Tensor) -> None:
        if isinstance(updates, Mixture):
            mixing = mixing @ updates.mixing
            updates = updates._updates
        self._updates: Tensor = updates
        self.mixing: Tensor = mixing
        self._chosen = _chosen(mixing)
        self.shape: torch.Size = torch.Size((len(mixing), updates.shape[1]))
        self.dtype: torch.dtype = updates.dtype
        self.device: torch.device = updates.device

    def __len__(self) -> int:
        return len(self.mixing)

    def __getitem__(self, key: int | tuple[slice, slice | Tensor]) -> Tensor:
        """Returns one mixed row, or some columns of all of them."""
        if isinstance(key, tuple):
            part = self._updates[key]
            return _product(self.mixing, part) if self._chosen is None else part[self._chosen]
        return weighted_sum(self._updates, self.mixing[key])

    def matrix(self) -> Tensor:
        """Returns all mixed rows as one new matrix, shape [n_rows, n_params]."""
        rows = self._updates.new_empty(self.shape)
        for part, mixed in column_chunks(self):
            rows[:, part] = mixed
        return rows


Updates = Tensor | Mixture


def narrow(updates: Updates, part: slice) -> Updates:
    """Returns some columns of ``updates``, still unmixed where they are a mixture."""
    if isinstance(updates, Mixture):
        return Mixture(updates._updates[:, part], updates.mixing)
    return updates[:, part]


def column_chunks(updates: Updates, size: int = SLICE) -> Iterator[tuple[slice, Tensor]]:
    """Yields (columns, part): every part of ``updates`` has shape [n_clients, <= size].

    Parts are views wherever they can be: write to none of them.
    """
    for start in range(0, updates.shape[1], size):
        part = slice(start, min(start + size, updates.shape[1]))
        yield part, updates[:, part]


def sum_of_slices(updates: Updates, work: Callable[[slice, Updates], Tensor]) -> Tensor:
    """Returns the sum of what ``work`` makes of each slice of columns, added in their order.

    Slices are worked on side by side; the sum is the same to the last bit with any number of threads.
    """
    places = [slice(at, min(at + SLICE, updates.shape[1])) for at in range(0, updates.shape[1], SLICE)]
    first, *rest = in_threads(lambda place: work(place, narrow(updates, place)), places or [slice(0, 0)])
    for part in rest:
        first += part
    return first


def weighted_sum(updates: Updates, weight: Tensor) -> Tensor:
    """Returns ``weight`` [n_clients] times ``updates`` [n_clients, n_params], shape [n_params].

    Each row is scaled before it is added, so that huge finite rows cannot overflow a mean, and what rounding still
    carries over the edge is put back. Row after row is added to a stretch of the sum that stays in the cache, which
    reads the matrix faster than a product with a vector.
    """
    if isinstance(updates, Mixture):
        weight, updates = weight.double() @ updates.mixing.double(), updates._updates
    total = torch.empty(updates.shape[1], dtype=updates.dtype, device=updates.device)
    plain = not ((weight != 0) & (weight.abs() < _TINY)).any() and total.dtype in (
        torch.float32,
        torch.float64,
    )
    rows: Tensor = updates

    def add(part: slice) -> None:
        finite(
            _added(weight, rows[:, part], total[part]) if plain else _product(weight, rows[:, part]),
            out=total[part],
        )

    over_slices(len(total), STRETCH, lambda: add)
    return total


def finite(values: Tensor, out: Tensor | None = None) -> Tensor:
    """Returns ``values`` with infinities as the largest number of their type, in ``out`` or in place."""
    most = torch.finfo(values.dtype).max
    return torch.clamp(values, -most, most, out=values if out is None else out)


def _added(weight: Tensor, rows: Tensor, total: Tensor) -> Tensor:
    """Adds the weighted ``rows`` up in ``total`` [n_columns], those without a weight left out, and returns it."""
    total.zero_()
    for row, share in zip(rows, weight.tolist(), strict=True):
        if share:
            total.add_(row, alpha=share)
    return total


def working(rows: Tensor) -> Tensor:
    """Returns ``rows`` in the precision to calculate in: float64 stays, everything else is float32."""
    return rows if rows.dtype == torch.float64 else rows.float()


def choose(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """Returns ``torch.where(mask, yes, no)`` for float32 or float64, by their bits: five times as fast."""
    kind = torch.int64 if no.dtype == torch.float64 else torch.int32
    bits = no.view(kind)
    return (yes.view(kind) ^ bits).bitwise_and_(mask.to(kind).neg_()).bitwise_xor_(bits).view(no.dtype)


def _chosen(mixing: Tensor) -> Tensor | None:
    """Returns which row each new row simply is, shape [n_rows], or None where any is a mixture."""
    ones = mixing == 1
    if len(mixing) and (ones.sum(dim=1) == 1).all() and (mixing[~ones] == 0).all():
        return ones.to(torch.uint8).argmax(dim=1)
    return None


def _product(weight: Tensor, rows: Tensor) -> Tensor:
    wide = working(rows)
    if ((weight != 0) & (weight.abs() < _TINY)).any():
        wide = wide.double()
    return (weight.to(wide) @ wide).to(rows.dtype)
