"""MDA, minimum-diameter averaging: the mean of the n - f updates that lie closest together.

Source: El Mhamdi, Guerraoui, Guirguis, Hoang and Rouault, "Genuinely Distributed Byzantine Machine Learning",
PODC 2020 (arXiv 1905.03853): of all subsets of n - f rows the one with the least largest distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    check_integer,
    check_majority,
)
from hauberk.strategies.kernels.chunks import Updates, weighted_sum
from hauberk.strategies.kernels.geometry import measured_distances
from hauberk.strategies.kernels.vertex_cover import coverable

_ROUNDING = 1e-9  # relative, of a squared distance
_MOST_MALICIOUS = 50


@dataclass(frozen=True, kw_only=True)
class MDA(Rule):
    """Averages the subset of n - f updates with the smallest diameter.

    The diameter is one pair's distance, so that several subsets often share it; the one whose client ids
    come first counts, as in ByzFL. No list of all subsets is made: with the distances above a bound as edges,
    f rows that touch every edge leave a subset within it. Among Gaussian rows the search for those takes
    half a second for 200 clients. Who lies may make it hard: on the worst graphs found, random regular ones,
    each bound takes a second with f = 50 and 20 s with f = 70; hence the limit.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f < n_clients and f <= 50.
    """

    n_malicious: int

    def __post_init__(self) -> None:
        check_integer(self, "n_malicious", least=0)
        if self.n_malicious > _MOST_MALICIOUS:
            raise ValueError(
                f"MDA needs f <= {_MOST_MALICIOUS}, got f={self.n_malicious}: more liars could make its search endless."
            )

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless 2f < n_clients."""
        check_majority(self, self.n_malicious, n_clients)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            TooFewClientsError: if there are too few clients for ``n_malicious``.
        """
        self.admit(updates)
        distances, geometry = measured_distances(updates)
        by_id = (context or AggregationContext()).by_id(len(updates)).to(distances.device)
        subset = closest_subset(distances[by_id][:, by_id], len(updates) - self.n_malicious)
        weight = torch.zeros_like(distances[0])
        weight[by_id[subset]] = 1 / len(subset)
        diameter = float(distances[by_id[subset]][:, by_id[subset]].max()) ** 0.5
        report = {"mda/diameter": diameter}
        return Aggregation(weighted_sum(updates, weight), weight, state, report, geometry)


def closest_subset(distances: Tensor, n_kept: int) -> list[int]:
    """Returns the ``n_kept`` rows of least diameter, ascending; of several such subsets the first in order.

    Args:
        distances: between rows, shape [n_rows, n_rows], symmetric, squared or not.
        n_kept: how many rows, 1 <= n_kept <= n_rows.
    """
    n_rows = len(distances)
    rows = (1 << n_rows) - 1
    bounds = sorted(set(distances.flatten().tolist()))
    low, high = 0, len(bounds) - 1
    while low < high:  # the least bound within which there is a subset
        middle = (low + high) // 2
        if coverable(_farther_rows(distances, bounds[middle]), rows, n_rows - n_kept):
            high = middle
        else:
            low = middle + 1
    edges = _farther_rows(distances, bounds[low])
    kept: list[int] = []
    for row in range(n_rows):  # each row that a subset can have beside those before it
        if len(kept) == n_kept or not rows >> row & 1:
            continue
        without = rows & ~edges[row]
        if coverable(edges, without, without.bit_count() - n_kept):
            rows = without
            kept.append(row)
        else:
            rows &= ~(1 << row)
    return kept


def _farther_rows(distances: Tensor, bound: float) -> list[int]:
    """Returns for each row the set of rows farther than ``bound`` from it, as the bits of a number.

    Rounding is no distance: rows that NNM has made alike would be told apart by where they stand.
    """
    far = distances > bound * (1 + _ROUNDING)
    return [sum(1 << j for j, edge in enumerate(row) if edge) for row in far.tolist()]
