"""Multi-Metrics: average the models that are nearest to all others by angle, Manhattan distance and length at once.

Source: Huang, Li, Chen, Shi and Gao, "Multi-metrics Adaptively Identifies Backdoors in Federated Learning", ICCV 2023
(arXiv 2303.06601), and its official code: over the models w_k = theta + x_k the features sum_j (1 - cos(w_k, w_j))^2,
sum_j ||w_k - w_j||_1 and sum_j | ||w_k|| - ||w_j|| |; the score t^T C^-1 t of the features t with their covariance C
over the clients; the share p with the lowest scores is averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.strategies.aggregators._client_scores import equal_weights, score_report
from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range
from hauberk.strategies.kernels.angles import distances_of_products, products
from hauberk.strategies.kernels.chunks import Updates, weighted_sum
from hauberk.strategies.kernels.distances import gram_matrix
from hauberk.strategies.kernels.manhattan import manhattan_distances
from hauberk.strategies.requirements import required_vector


@dataclass(frozen=True, kw_only=True)
class MultiMetrics(Rule):
    """Averages the share of the updates whose models have the lowest scores.

    The code weighs them by their claimed numbers of examples; ours counts them alike. Where the covariance has no
    inverse, as with three clients, its pseudo-inverse takes its place.

    Args:
        p: the share of the clients that is averaged; at least one is.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"parameters"})

    p: float = 0.3

    def __post_init__(self) -> None:
        check_range(self, "p", above=0, most=1)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            ValueError: if ``context`` lacks parameters as long as the rows.
        """
        self.admit(updates)
        context = context or AggregationContext()
        origin = required_vector(self, context, "parameters", updates)
        scores = squared_mahalanobis(features(updates, origin))
        weight = equal_weights(scores, max(1, int(self.p * len(updates))), context)
        report = score_report("multi_metrics", scores, context)
        return Aggregation(weighted_sum(updates, weight), weight, state, report)


def features(updates: Updates, origin: Tensor) -> Tensor:
    """Returns how far each model is from all others by angle, by Manhattan distance and by length, [n_clients, 3]."""
    gram = gram_matrix(updates)
    along, square = products(updates, origin), float(products(origin[None], origin))
    lengths = (square + 2 * along + gram.diagonal()).clamp_(min=0).sqrt_()
    angle = distances_of_products(gram, along, square).square().sum(dim=1)
    length = (lengths[:, None] - lengths).abs().sum(dim=1)
    return torch.stack([angle, manhattan_distances(updates).sum(dim=1), length], dim=1)


def squared_mahalanobis(values: Tensor) -> Tensor:
    """Returns t^T C^-1 t for each row t of ``values`` [n, k] with their covariance C, shape [n], in float64.

    Each column is divided by its standard deviation first, which changes nothing but the rounding: a squared angle may
    be 1e-18 where a Manhattan distance is 1e3. A column in which all are alike counts nothing.
    """
    if len(values) == 1:
        return torch.zeros(1, dtype=torch.float64, device=values.device)
    spread = values.std(dim=0)
    unit = torch.where(spread > 0, values / spread, 0.0)
    inverse = torch.linalg.pinv(torch.cov(unit.T), hermitian=True, rtol=1e-10)
    return ((unit @ inverse) * unit).sum(dim=1)
