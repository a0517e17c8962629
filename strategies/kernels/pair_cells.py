"""Cuts the matrix of all pairs of rows into cells that can be searched together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from math import isqrt

import numpy as np

_SLOW = 0.5  # of the time to compute all differences: a cell that takes longer may be cut, ...
_GAIN = 0.9  # ... if its parts take less than this share of its time together

Cell = tuple[
    np.ndarray, np.ndarray
]  # some rows and those they are paired with; twice the same array for all inside


def n_pairs(cell: Cell) -> int:
    """Returns how many pairs a cell has."""
    first, second = cell
    return len(first) * (len(first) - 1) // 2 if first is second else len(first) * len(second)


def pairs_of(cell: Cell) -> Cell:
    """Returns the first and the second row of each pair of a cell, both of shape [n_pairs]."""
    first, second = cell
    if first is second:
        p, q = np.triu_indices(len(first), 1)
    else:
        p, q = np.indices((len(first), len(second))).reshape(2, -1)
    return first[p], second[q]


def cells(rows: np.ndarray, floors: np.ndarray, most: int, effort: Callable[[Cell], float]) -> Iterator[Cell]:
    """Yields cells of at most ``most`` pairs that together hold each pair of ``rows`` once.

    Args:
        rows: shape [n_chosen].
        floors: the floor of each pair of all rows, shape [n_rows, n_rows].
        most: >= 1.
        effort: returns how many differences could be computed in the time that a cell takes.
    """
    groups = [rows]
    if n_pairs((rows, rows)) > most:
        groups = np.array_split(rows, -(-len(rows) // isqrt(most)))
    for group in groups:
        if len(group) > 1:
            yield from _cut_where_slow(group, floors, effort)
    yield from combinations(groups, 2)


def batches(parts: Iterable[Cell], most: int) -> Iterator[list[Cell]]:
    """Yields lists of cells that have at most ``most`` pairs together."""
    held: list[Cell] = []
    for cell in parts:
        if held and sum(map(n_pairs, held)) + n_pairs(cell) > most:
            yield held
            held = []
        held = [*held, cell]
    yield held


def _cut_where_slow(rows: np.ndarray, floors: np.ndarray, effort: Callable[[Cell], float]) -> Iterator[Cell]:
    """Yields the pairs inside ``rows`` as one cell, or as several that are searched faster.

    Where some rows nearly agree, the small floors between them leave no large thresholds for their pairs with others.
    Then these rows become a cell of their own, the others another one, and the pairs of both a third.
    """
    whole = (rows, rows)
    taken = effort(whole)
    if len(rows) > 3 and taken > _SLOW * n_pairs(whole):
        near, far = _around_the_nearest(rows, floors)
        parts = [cell for cell in ((near, near), (far, far), (near, far)) if n_pairs(cell)]
        if sum(map(effort, parts)) < _GAIN * taken:
            for part in (near, far):
                if len(part) > 1:
                    yield from _cut_where_slow(part, floors, effort)
            yield near, far
            return
    yield whole


def _around_the_nearest(rows: np.ndarray, floors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows around the two nearest, up to a wide gap not far from the middle, and the others."""
    inside = floors[np.ix_(rows, rows)].astype(np.float64)
    centre = int(inside.min(axis=1).argmin())
    order = inside[centre].argsort(kind="stable")[:-1]  # without the centre itself, at infinity
    gaps = np.diff(np.log(inside[centre, order]))
    sizes = np.arange(1, len(gaps) + 1)
    last = 1 + int((gaps * np.minimum(sizes, sizes[::-1])).argmax())
    return np.append(rows[centre], rows[order[:last]]), rows[order[last:]]
