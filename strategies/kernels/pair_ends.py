"""Which rows can be the two ends of a large difference, column by column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

MOST_ROWS = 1 << 10
_COLUMN, _VALUE = 43, 11  # a key: column, value in 32 bits, one bit for an upper end, row in 10
_TOGETHER = 1 << 17  # meetings


@dataclass(frozen=True)
class Ends:
    """Upper ends, each of which meets some lower ends in a row.

    Attributes:
        p: the row of each upper end.
        upper_column: its column.
        q: the row of each lower end; they are sorted by column and value.
        lower_column: its column.
        first: for each upper end, the first lower one that it meets.
        many: for each upper end, how many it meets.
    """

    p: np.ndarray
    upper_column: np.ndarray
    q: np.ndarray
    lower_column: np.ndarray
    first: np.ndarray
    many: np.ndarray

    def meetings(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields, some at a time, which upper end meets which lower one, both of shape [n]."""
        last = self.many.cumsum()
        start, done = 0, 0
        while start < len(last):
            stop = max(start + 1, int(last.searchsorted(done + _TOGETHER)))
            upper = np.zeros(last[stop - 1] - done, dtype=np.intp)
            upper[last[start : stop - 1] - done] = 1
            upper.cumsum(out=upper)
            upper += start
            lower = (self.first - last + self.many).take(upper)
            lower += np.arange(done, last[stop - 1])
            yield upper, lower
            start, done = stop, last[stop - 1]


def ends_of(high: np.ndarray, is_upper: np.ndarray, low: np.ndarray, is_lower: np.ndarray) -> Ends:
    """Returns the chosen ends: an upper one meets the lower ones of its column that lie no higher.

    Every upper end must meet one at least.

    Args:
        high: shape [n_upper_rows, width], at most MOST_ROWS of them.
        is_upper: which of these are upper ends.
        low: shape [n_lower_rows, width].
        is_lower: which of these are lower ends.
    """
    keys = np.concatenate([_keys(low, is_lower), _keys(high, is_upper) | MOST_ROWS])
    keys.sort()  # of equal values the lower end comes first
    upper = (keys & MOST_ROWS).astype(bool)
    many = np.flatnonzero(upper)
    p, upper_column = _row_and_column(keys.take(many))
    q, lower_column = _row_and_column(keys.take(np.flatnonzero(~upper)))
    counts = np.bincount(lower_column, minlength=high.shape[1])
    first = (counts.cumsum() - counts).take(upper_column)
    many -= np.arange(len(many))  # all lower ends before it, those of earlier columns too
    many -= first
    return Ends(p, upper_column, q, lower_column, first, many)


def _keys(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Returns integers that sort as the chosen ``values`` [n_rows, width] do in each column.

    Of float64 the order is that of their float32; equal ones meet.
    """
    place = np.flatnonzero(chosen)
    row = place // values.shape[1]
    keys = place - row * values.shape[1]
    order = values.reshape(-1).take(place).astype(np.float32, copy=False)
    order += 0  # no negative 0 any more
    bits = order.view(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    keys <<= 32
    keys += bits
    keys += 1 << 31
    keys <<= _VALUE
    keys |= row
    return keys


def _row_and_column(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return keys & (MOST_ROWS - 1), keys >> _COLUMN
