"""Coordinate-wise trimmed mean: each parameter's mean without its f smallest and f largest values.

Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018
(arXiv 1803.01498): the mean of the values of rank f + 1 to n - f, with beta = f / n.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    check_integer,
    check_majority,
)
from hauberk.strategies.kernels.chunks import SLICE, Updates, column_chunks, working
from hauberk.strategies.kernels.sorting_networks import OrderStatistics, mean_of


@dataclass(frozen=True, kw_only=True)
class TrimmedMean(Rule):
    """Averages each coordinate without its f smallest and its f largest values.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f < n_clients. Flower's ``beta`` is
            f / n_clients.
    """

    n_malicious: int

    def __post_init__(self) -> None:
        check_integer(self, "n_malicious", least=0)

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
        n_clients, n_params = updates.shape
        kept = range(self.n_malicious, n_clients - self.n_malicious)
        mean = torch.empty(n_params, dtype=updates.dtype, device=updates.device)
        statistics = OrderStatistics(n_clients, (), working(mean[:0]), min(SLICE, n_params), bag=kept)
        for part, rows in column_chunks(updates):
            mean[part] = mean_of(statistics(working(rows)))
        return Aggregation(mean, None, state)
