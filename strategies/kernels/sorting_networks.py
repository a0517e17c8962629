"""Order statistics of every column by a pruned sorting network: whole rows compared at once.

Sorting along the short client axis is slow in every library; a network of elementwise minima and maxima
over a cache-sized slice is not. Source: Batcher, "Sorting networks and their applications", 1968 (odd-even
merge sort), with the comparators no wanted rank depends on left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import finite


@dataclass(frozen=True)
class Comparator:
    """Puts the smaller of two wires on ``low`` and the larger on ``high``, where anyone wants them."""

    low: int
    high: int
    wants_low: bool
    wants_high: bool


@cache
def network(n_wires: int, ranks: tuple[int, ...], bag: tuple[int, ...] = ()) -> tuple[Comparator, ...]:
    """Returns comparators after which wire r holds the r-th smallest (from 0) of all, for r in ``ranks``.

    The wires in ``bag`` hold the values of those ranks too, but in any order among them, as a sum needs.
    """
    wanted, loose = set(ranks), set(bag)
    kept: list[Comparator] = []
    for low, high in reversed(_odd_even_merge_sort(n_wires)):
        if low in loose and high in loose:
            continue
        if {low, high} & (wanted | loose):
            kept.append(Comparator(low, high, low in wanted | loose, high in wanted | loose))
            wanted |= {low, high}
            loose -= {low, high}
    return tuple(reversed(kept))


class OrderStatistics:
    """Finds order statistics of slices of equal height, in buffers that are allocated once.

    Args:
        n_rows: the height of the slices.
        ranks: which order statistics, from 0.
        like: a tensor of the dtype and device of the slices.
        width: the largest width of a slice.
        bag: further ones, whose order among themselves does not matter: fewer comparisons.
        buffers: shape [n_rows + 1, width], to share with others that are not called at the same time.
    """

    def __init__(
        self,
        n_rows: int,
        ranks: Sequence[int],
        like: Tensor,
        width: int,
        bag: Sequence[int] = (),
        buffers: Tensor | None = None,
    ) -> None:
        self._ranks = (*ranks, *bag)
        self._network = network(n_rows, tuple(ranks), tuple(bag))
        # Every wire may hold a buffer while one comparator needs a free one.
        self._buffers = like.new_empty((n_rows + 1, width)) if buffers is None else buffers

    def __call__(self, rows: Tensor) -> list[Tensor]:
        """Returns the order statistics of each column of ``rows`` [n_rows, width], each of shape [width].

        Those of ``ranks`` come first, in their order, then those of the bag, in any.
        They are overwritten by the next call, and may be views of ``rows``: write to none of them.
        """
        wires = list(rows)
        free = list(self._buffers[:, : rows.shape[1]])
        held: dict[int, Tensor] = {}  # the buffer of each wire that no longer holds an input row
        for step in self._network:
            self._compare(step, wires, held, free)
        return [wires[rank] for rank in self._ranks]

    def _compare(
        self, step: Comparator, wires: list[Tensor], held: dict[int, Tensor], free: list[Tensor]
    ) -> None:
        first, second = wires[step.low], wires[step.high]
        returned = [held.pop(wire) for wire in (step.low, step.high) if wire in held]
        if step.wants_low:
            held[step.low] = wires[step.low] = torch.minimum(first, second, out=free.pop())
        if step.wants_high:  # only now may a buffer be overwritten that holds one of the two
            target = returned.pop() if returned else free.pop()
            held[step.high] = wires[step.high] = torch.maximum(first, second, out=target)
        free.extend(returned)


def mean_of(values: Sequence[Tensor]) -> Tensor:
    """Returns the mean of tensors of equal shape, as a new one.

    Each is divided before it is added: the sum of huge finite values may not be finite. Rounding is seen to, too.
    """
    total = values[0] / len(values)
    for value in values[1:]:
        total.add_(value, alpha=1 / len(values))
    return finite(total)


def _odd_even_merge_sort(n_wires: int) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    run = 1
    while run < n_wires:
        gap = run
        while gap:
            for start in range(gap % run, n_wires - gap, 2 * gap):
                for low in range(start, min(start + gap, n_wires - gap)):
                    if low // (2 * run) == (low + gap) // (2 * run):
                        pairs.append((low, low + gap))
            gap //= 2
        run *= 2
    return pairs
