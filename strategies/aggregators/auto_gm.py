"""AutoGM: a geometric median whose weights are found with it, so that whoever is far does not count at all.

Source: Li, Ngai and Voigt, "Auto-weighted Robust Federated Learning with Corrupted Data Sources", ACM TIST 2022
(arXiv 2101.05880): minimise sum_k alpha_k ||v - x_k|| + (lambda / 2) ||alpha||^2 over v and alpha in the
simplex, by turns. Reconstructed from memory of the paper; its code was not read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range
from hauberk.strategies.kernels.chunks import Updates, weighted_sum
from hauberk.strategies.kernels.distances import gram_matrix
from hauberk.strategies.kernels.geometry import Geometry
from hauberk.strategies.kernels.norms import median_of
from hauberk.strategies.kernels.weiszfeld import centred_gram, geometric_median

_ROUNDS = 100  # at most; a handful is the rule


@dataclass(frozen=True, kw_only=True)
class AutoGM(Rule):
    """Takes the geometric median weighted by alpha_k = max(0, eta - ||v - x_k||) / lambda, alternately.

    It starts with equal weights, and stops when no alpha changes by more than 1e-8.

    Args:
        penalty: lambda; the larger, the more equal the weights. By default n_clients times the median
            distance of the updates to their unweighted geometric median: then a client counts for nothing
            beyond about twice that distance. This scale is ours: one number fits no two models.
    """

    penalty: float | None = None

    def __post_init__(self) -> None:
        if self.penalty is not None:
            check_range(self, "penalty", above=0)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        The weight is how much each update counts in the median; the alphas are in the report.
        """
        self.admit(updates)
        ids = (context or AggregationContext()).ids(len(updates))
        geometry = Geometry(gram=gram_matrix(updates))
        gram = centred_gram(updates, geometry.gram)
        alpha = torch.full_like(gram[0], 1 / len(gram))
        weight, distances = geometric_median(gram, alpha, alpha)
        penalty = len(gram) * median_of(distances) if self.penalty is None else self.penalty
        for _ in range(_ROUNDS):
            before, alpha = alpha, water_filling(distances, penalty)
            if (alpha - before).abs().max() <= 1e-8:
                break
            weight, distances = geometric_median(gram, alpha, weight)
        report = {f"auto_gm/alpha/{k}": float(share) for k, share in zip(ids, alpha, strict=True)}
        return Aggregation(weighted_sum(updates, weight), weight, state, report, geometry)


def water_filling(distances: Tensor, penalty: float) -> Tensor:
    """Returns the alpha in the simplex that minimises alpha . distances + (penalty / 2) ||alpha||^2.

    Args:
        distances: shape [n_clients].
        penalty: lambda >= 0; at 0 the closest share everything.
    """
    if penalty == 0:
        closest = (distances == distances.min()).to(distances)
        return closest / closest.sum()
    ascending = distances.sort().values
    counts = torch.arange(1, len(ascending) + 1, device=distances.device)
    levels = (penalty + ascending.cumsum(dim=0)) / counts
    n_above = int((levels > ascending).sum())
    alpha = (levels[n_above - 1] - distances).clamp_(min=0) / penalty
    return alpha / alpha.sum()  # 1 already but for rounding
