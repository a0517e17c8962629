"""MeaMed, mean around the median: each parameter's mean of the n - f values closest to its median.

Source: Xie, Koyejo and Gupta, "Generalized Byzantine-tolerant SGD", 2018 (arXiv 1802.10116).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    check_integer,
    check_majority,
)
from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.mean_around_median import mean_of_closest


@dataclass(frozen=True, kw_only=True)
class Meamed(Rule):
    """Averages the n - f values of each coordinate that lie closest to its median.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f < n_clients.
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
        return Aggregation(mean_of_closest(updates, len(updates) - self.n_malicious), None, state)
