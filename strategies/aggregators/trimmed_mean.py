"""Coordinate-wise trimmed mean: each parameter's mean without its f smallest and f largest values.

Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018
(arXiv 1803.01498): the mean of the values of rank f + 1 to n - f, with beta = f / n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

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
from hauberk.strategies.kernels.chunks import SLICE, Updates, working
from hauberk.strategies.kernels.sorting_networks import OrderStatistics, mean_of
from hauberk.strategies.kernels.threads import over_slices


@dataclass(frozen=True, kw_only=True)
class TrimmedMean(Rule):
    """Averages each coordinate without its f smallest and its f largest values.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f < n_clients. Flower's ``beta`` is
            f / n_clients.
    """

    row_wise: ClassVar[bool] = True

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
        return Aggregation(mean_of_the_middle(updates, self.n_malicious), None, state)


def mean_of_the_middle(updates: Updates, n_cut: int) -> Tensor:
    """Returns each column's mean without its ``n_cut`` smallest and largest values, shape [n_params]."""
    n_clients, n_params = updates.shape
    kept = range(n_cut, n_clients - n_cut)
    mean = torch.empty(n_params, dtype=updates.dtype, device=updates.device)
    width = min(SLICE, n_params)

    def make_work() -> Callable[[slice], None]:
        statistics = OrderStatistics(n_clients, (), working(mean[:0]), width, bag=kept)

        def work(part: slice) -> None:
            mean[part] = mean_of(statistics(working(updates[:, part])))

        return work

    over_slices(n_params, width, make_work)
    return mean
