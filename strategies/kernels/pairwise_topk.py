"""The k largest squared differences of every pair of rows, summed: exact, without sorting whole rows.

Where rows are long and k is small, ``pair_search`` finds them without computing all differences; else each pair's
whole difference is partitioned.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.pair_search import search_sums
from hauberk.strategies.kernels.whole_pairs import whole_sums

_LEAST = 1 << 17  # with fewer columns, ...
_FEW = 1 / 200  # ... or with k above this share of them, whole differences are quicker


def strongest_squares(updates: Updates, k: int, inverse: Tensor | None = None) -> Tensor:
    """Returns for each pair of rows the sum of its ``k`` largest squared differences.

    It works in as many threads as torch may use; a search returns the same bits in any number of them.

    Args:
        updates: shape [n_clients, n_params].
        k: how many of the n_params differences count, 1 <= k <= n_params.
        inverse: what each difference is multiplied by first, > 0, shape [n_params]; by default 1.

    Returns:
        A symmetric matrix [n_clients, n_clients] in float64 with a diagonal of 0.
    """
    n_clients, n_params = updates.shape
    if n_params >= _LEAST and k <= _FEW * n_params:
        return search_sums(updates, k, inverse)
    sums = torch.zeros(n_clients, n_clients, dtype=torch.float64)
    pairs = list(combinations(range(n_clients), 2))
    for (p, q), total in zip(pairs, whole_sums(updates, pairs, k, inverse), strict=True):
        sums[p, q] = sums[q, p] = total
    return sums.to(updates.device)
