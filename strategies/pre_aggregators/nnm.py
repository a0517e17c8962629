"""NNM, nearest-neighbour mixing: replace each update by the mean of its n - f nearest.

Source: Allouah et al., "Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity", AISTATS
2023 (arXiv 2302.01772): y_i = mean of the n - f nearest x_j to x_i, itself included.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.strategies.base import AggregationContext, TooFewClientsError, check_integer
from hauberk.strategies.chain import PreAggregator
from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.geometry import Geometry, measured_distances


@dataclass(frozen=True, kw_only=True)
class NNM(PreAggregator):
    """Mixes each update with its nearest neighbours, before any rule; of equally near ones the lowest id comes first.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f < n_clients.
    """

    n_malicious: int

    def __post_init__(self) -> None:
        check_integer(self, "n_malicious", least=0)

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless 2f < n_clients."""
        if not 2 * self.n_malicious < n_clients:
            raise TooFewClientsError(
                f"NNM needs 2f < n_clients, got f={self.n_malicious} and n_clients={n_clients}."
            )

    def mixing(self, updates: Updates, context: AggregationContext) -> Tensor:
        """Returns the mixing matrix, shape [n_clients, n_clients]; each row sums to 1."""
        return self.measured_mixing(updates, context)[0]

    def measured_mixing(
        self, updates: Updates, context: AggregationContext
    ) -> tuple[Tensor, Geometry | None]:
        """Returns the mixing matrix, and the distances that it comes from."""
        squared, geometry = measured_distances(updates)
        distances = squared.clone().fill_diagonal_(-1)  # each one is its own nearest
        n_nearest = len(distances) - self.n_malicious
        by_id = context.by_id(len(distances)).to(distances.device)
        nearest = by_id[distances[:, by_id].argsort(dim=1, stable=True)[:, :n_nearest]]
        return torch.zeros_like(distances).scatter_(1, nearest, 1 / n_nearest), geometry
