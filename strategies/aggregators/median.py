"""Coordinate-wise median: each parameter's middle value.

Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018
(arXiv 1803.01498). For an even number of clients it is the mean of the two middle values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State
from hauberk.strategies.kernels.chunks import SLICE, Updates, working
from hauberk.strategies.kernels.sorting_networks import OrderStatistics
from hauberk.strategies.kernels.threads import over_slices


@dataclass(frozen=True)
class Median(Rule):
    """Takes the median of each coordinate; a majority of honest clients bounds every one of them."""

    row_wise: ClassVar[bool] = True

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through."""
        self.admit(updates)
        return Aggregation(coordinate_median(updates), None, state)


def coordinate_median(updates: Updates) -> Tensor:
    """Returns the median of each column of ``updates`` [n_clients, n_params], shape [n_params]."""
    n_clients, n_params = updates.shape
    middle = torch.empty(n_params, dtype=updates.dtype, device=updates.device)
    like = working(middle[:0])
    ranks = ((n_clients - 1) // 2, n_clients // 2)
    width = min(SLICE, n_params)

    def make_work() -> Callable[[slice], None]:
        statistics = OrderStatistics(n_clients, ranks, like, width)

        def work(part: slice) -> None:
            low, high = statistics(working(updates[:, part]))
            # Halved before they are added: the sum of two huge finite values may not be finite.
            middle[part] = low if n_clients % 2 else low / 2 + high / 2

        return work

    over_slices(n_params, width, make_work)
    return middle
