"""Finds the pairs of rows that differ by more than their floors, a slice of columns at a time.

With upper_p + lower_q <= floor_pq, x_p - x_q > floor_pq implies x_p - upper_p >= x_q + lower_q. So in a column only
rows with x_p - upper_p >= min_q (x_q + lower_q) can be the upper end of such a difference, and only rows with
x_q + lower_q <= max_p (x_p - upper_p) the lower one: a join of two short lists. Rounding keeps all this, since it
keeps the order of numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hauberk.strategies.kernels.pair_cells import Cell, n_pairs
from hauberk.strategies.kernels.pair_ends import Ends, ends_of
from hauberk.strategies.kernels.pair_floors import thresholds

_SCARCE = 0.5  # below this share of columns that matter, the others are left out first
# How many differences are computed in the time that a value, an end and a meeting of two take:
_VALUE, _END, _MEETING = 6, 75, 27

Found = tuple[np.ndarray, np.ndarray]


class Scratch:
    """Arrays to be used for slice after slice: fresh memory would take as long as the arithmetic."""

    def __init__(self) -> None:
        self._held: dict[str, np.ndarray] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """Returns an array with any content, the same one each time for the same name."""
        size = shape[0] * shape[1]
        held = self._held.get(name)
        if held is None or held.size < size or held.dtype != dtype:
            held = self._held[name] = np.empty(size, dtype=dtype)
        return held[:size].reshape(shape)


@dataclass(frozen=True)
class _Slice:
    x: np.ndarray  # [n_upper, width]
    y: np.ndarray  # [n_lower, width]; the same array as x for pairs inside
    inverse: np.ndarray | None  # [width]


class Block:
    """The differences x_p - x_q of a cell's pairs; for pairs inside it both x_p - x_q and x_q - x_p.

    Args:
        cell: which rows may be p and which q.
        pairs: the number of each pair of all rows, shape [n_rows, n_rows].
        floors: the floor of each number, infinite where p is q; they may rise.
    """

    def __init__(self, cell: Cell, pairs: np.ndarray, floors: np.ndarray) -> None:
        self._upper, self._lower = cell
        self._inside = self._upper is self._lower
        self._pairs = np.ascontiguousarray(pairs[np.ix_(*cell)])
        self._floors = floors
        self._n_pairs = n_pairs(cell)
        self._n_values = len(self._upper) + (0 if self._inside else len(self._lower))
        self.tune()

    def tune(self) -> None:
        """Takes thresholds from what the floors are now."""
        floors = self._floors[self._pairs]
        self._thresholds, self._lowest = thresholds(floors), floors.min()

    def search(self, rows: np.ndarray, inverse: np.ndarray | None, scratch: Scratch) -> Iterator[Found]:
        """Yields differences above their floors, and the numbers of their pairs, both of shape [n].

        Args:
            rows: some columns of all rows, shape [n_rows, width].
            inverse: what each difference is multiplied by, > 0, shape [width], or None for 1.
            scratch: this thread's own.
        """
        part, ends = self._prepare(rows, inverse, scratch)
        return self._every(part) if ends is None else self._joined(part, ends)

    def effort(self, rows: np.ndarray, inverse: np.ndarray | None, scratch: Scratch) -> int:
        """Returns how many differences could be computed in the time that ``search`` takes for candidates."""
        part, ends = self._prepare(rows, inverse, scratch)
        return self._n_pairs * part.x.shape[1] if ends is None else _effort(ends)

    def _prepare(
        self, rows: np.ndarray, inverse: np.ndarray | None, scratch: Scratch
    ) -> tuple[_Slice, Ends | None]:
        """Returns the columns that matter and the ends in them, or None where all differences are done faster."""
        part = self._spread(rows, inverse, scratch)
        all_differences = self._n_pairs * part.x.shape[1]
        if self._n_pairs <= _VALUE * self._n_values:
            return part, None
        ends = self._ends(part, scratch, most=all_differences // _END)
        return part, None if ends is None or _effort(ends) > all_differences else ends

    def _spread(self, rows: np.ndarray, inverse: np.ndarray | None, scratch: Scratch) -> _Slice:
        """Returns a copy of the columns whose largest difference exceeds the lowest floor, or of all."""
        x = _copied(rows, self._upper, scratch, "x")
        y = x if self._inside else _copied(rows, self._lower, scratch, "y")
        spread = x.max(axis=0) - y.min(axis=0)
        if inverse is not None:
            spread *= inverse
        columns = np.flatnonzero(spread > self._lowest)
        if len(columns) < _SCARCE * len(spread):
            x = x.take(columns, axis=1)
            y = x if self._inside else y.take(columns, axis=1)
            inverse = None if inverse is None else inverse.take(columns)
        return _Slice(x, y, inverse)

    def _ends(self, part: _Slice, scratch: Scratch, most: int) -> Ends | None:
        """Returns the ends of what may exceed its floor, or None where they are too many."""
        upper, lower = self._thresholds
        high = _shifted(part.x, -upper, part.inverse, scratch("high", part.x.shape, part.x.dtype))
        low = _shifted(part.y, lower, part.inverse, scratch("low", part.y.shape, part.y.dtype))
        if high is None or low is None or not high.size:
            return None
        is_upper = np.greater_equal(high, low.min(axis=0), out=scratch("upper", high.shape, bool))
        is_lower = np.less_equal(low, high.max(axis=0), out=scratch("lower", low.shape, bool))
        if np.count_nonzero(is_upper) + np.count_nonzero(is_lower) > most:
            return None
        return ends_of(high, is_upper, low, is_lower)

    def _joined(self, part: _Slice, ends: Ends) -> Iterator[Found]:
        """Yields what exceeds its floor among the ends that meet."""
        width = part.x.shape[1]
        x = part.x.reshape(-1).take(ends.p * width + ends.upper_column)
        y = part.y.reshape(-1).take(ends.q * width + ends.lower_column)
        row = ends.p * len(part.y)
        inverse = None if part.inverse is None else part.inverse.take(ends.upper_column)
        table = self._pairs.reshape(-1)
        for upper, lower in ends.meetings():
            values = x.take(upper)
            values -= y.take(lower)
            if inverse is not None:
                values *= inverse.take(upper)
            pairs = table.take(row.take(upper) + ends.q.take(lower))
            above = np.flatnonzero(values > self._floors.take(pairs))
            yield values.take(above), pairs.take(above)

    def _every(self, part: _Slice) -> Iterator[Found]:
        """Yields what exceeds its floor among all differences."""
        for p, row in enumerate(part.x):
            others = slice(p + 1 if self._inside else 0, None)
            values = row - part.y[others]
            if self._inside:
                np.abs(values, out=values)
            if part.inverse is not None:
                values *= part.inverse
            pairs = self._pairs[p, others]
            above = np.flatnonzero(values > self._floors.take(pairs)[:, None])
            yield values.reshape(-1).take(above), pairs.take(above // max(1, values.shape[1]))


def _effort(ends: Ends) -> int:
    return _END * (len(ends.p) + len(ends.q)) + _MEETING * int(ends.many.sum())


def _copied(rows: np.ndarray, which: np.ndarray, scratch: Scratch, name: str) -> np.ndarray:
    copy = scratch(name, (len(which), rows.shape[1]), rows.dtype)
    if len(which) == len(rows):
        np.copyto(copy, rows)
        return copy
    return rows.take(which, axis=0, out=copy, mode="clip")


def _shifted(
    rows: np.ndarray, shift: np.ndarray, inverse: np.ndarray | None, out: np.ndarray
) -> np.ndarray | None:
    """Returns ``rows`` plus a shift for each, in units of 1 / inverse, or None where that overflows."""
    if inverse is None:
        return np.add(rows, shift[:, None], out=out)
    unit = 1 / inverse
    if not np.isfinite(unit.max(initial=0) * np.abs(shift).max()):
        return None
    np.multiply(shift[:, None], unit, out=out)
    return np.add(rows, out, out=out)
