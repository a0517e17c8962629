"""The mean of the values closest to each column's median, without sorting by distance.

In sorted order the k values closest to the median m stand side by side. With n = k + t values the window
moves up by one, from y_0 .. y_(k-1), as long as the next value above it is closer than its lowest one:
m - y_s > y_(s+k) - m. This holds up to some s and then no more, so each of the t pairs (y_s, y_(s+k)) can be
decided on its own: either the lower one stays, or the upper one takes its place. (With t > k the pairs form
chains, and of each chain the highest one that moves counts.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import SLICE, Updates, choose, working
from hauberk.strategies.kernels.sorting_networks import OrderStatistics, mean_of
from hauberk.strategies.kernels.threads import over_slices

_LEAST = 1 << 13  # columns


def mean_of_closest(updates: Updates, n_kept: int, *, lower_median: bool = False) -> Tensor:
    """Returns for each column the mean of the ``n_kept`` values closest to its median, shape [n_params].

    Args:
        updates: shape [n_rows, n_params].
        n_kept: k, 1 <= k <= n_rows. Of two values equally far the smaller one is kept.
        lower_median: for an even number of rows take the lower of the two middle values, not their mean.
    """
    n_rows, n_params = updates.shape
    n_pairs = n_rows - n_kept
    middle = {(n_rows - 1) // 2, (n_rows - 1) // 2 if lower_median else n_rows // 2}
    inside = range(n_pairs, n_kept)  # these are kept whatever the pairs decide
    ranks = sorted({*range(n_pairs), *range(n_kept, n_rows), *middle})
    bag = [rank for rank in inside if rank not in ranks]
    mean = torch.empty(n_params, dtype=updates.dtype, device=updates.device)
    # Several slices are held at a time: where there are few columns they are shorter.
    width = min(SLICE, max(_LEAST, n_params // 64), n_params)

    def make_work() -> Callable[[slice], None]:
        statistics = OrderStatistics(n_rows, ranks, working(mean[:0]), width, bag)

        def work(part: slice) -> None:
            value = dict(zip((*ranks, *bag), statistics(working(updates[:, part])), strict=True))
            kept = [value[rank] for rank in inside]
            mean[part] = mean_of(kept + _decided(value, n_pairs, n_kept, [value[rank] for rank in middle]))

        return work

    over_slices(n_params, width, make_work)
    return mean


def _decided(value: dict[int, Tensor], n_pairs: int, n_kept: int, middle: Sequence[Tensor]) -> list[Tensor]:
    """Returns the kept one of each pair ``n_kept`` ranks apart, or of each chain of such pairs."""
    if not n_pairs:
        return []
    # In float64 the sum of two float32 values is exact, and so is the comparison.
    twice_the_median = middle[0].double() + middle[-1].double()
    kept: dict[int, Tensor] = {}
    for low in range(n_pairs):
        lower, upper = value[low], value[low + n_kept]
        moves = lower.double() + upper < twice_the_median
        kept[low % n_kept] = choose(moves, upper, kept.get(low % n_kept, lower))
    return list(kept.values())
