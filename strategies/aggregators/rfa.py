"""RFA: the geometric median of the updates, approximately, by a few smoothed Weiszfeld steps.

Source: Pillutla, Kakade and Harchaoui, "Robust Aggregation for Federated Learning", IEEE Transactions on Signal
Processing 2022 (arXiv 1912.13445): minimise sum_k alpha_k ||v - x_k|| by v <- sum_k beta_k x_k / sum_k beta_k
with beta_k = alpha_k / max(nu, ||v - x_k||). The constants are those of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_integer, check_range
from hauberk.strategies.kernels.chunks import Updates, weighted_sum
from hauberk.strategies.kernels.distances import gram_matrix
from hauberk.strategies.kernels.geometry import Geometry
from hauberk.strategies.kernels.norms import row_norms
from hauberk.strategies.kernels.weiszfeld import centred_gram, distances_to_mixture, step

_OFFICIAL = {"max_iterations": 4, "smoothing": 1e-5, "tolerance": 1e-6}


@dataclass(frozen=True, kw_only=True)
class RFA(Rule):
    """Takes a few Weiszfeld steps towards the geometric median, from the mean.

    All clients count alike (alpha_k = 1 / n; the paper's are shares of examples, which are claims). A few
    steps are not the median itself: with n clients, one row far away from all others is divided by about
    n - 1 in each step, so four steps from the mean do not undo a row of 1e10. ``max_iterations=100`` does.

    Args:
        max_iterations: at most this many steps.
        smoothing: nu, the distance below which none counts as shorter.
        tolerance: stops when a step changes the sum of distances by less than this share of it.
        convention: "official", or "byzfl": three steps from 0 with nu = 0.1 and no tolerance, which is not
            the geometric median and depends on the origin; the numbers above are then not to be set.
    """

    max_iterations: int = 4
    smoothing: float = 1e-5
    tolerance: float = 1e-6
    convention: Literal["official", "byzfl"] = "official"

    def __post_init__(self) -> None:
        check_integer(self, "max_iterations", least=1)
        check_range(self, "smoothing", above=0)
        check_range(self, "tolerance", least=0)
        if self.convention not in ("official", "byzfl"):
            raise ValueError(f"RFA.convention must be 'official' or 'byzfl', got {self.convention!r}.")
        for name, value in _OFFICIAL.items():
            if self.convention == "byzfl" and getattr(self, name) != value:
                raise ValueError(f"RFA.{name} is fixed by convention='byzfl', got {getattr(self, name)!r}.")

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through."""
        self.admit(updates)
        geometry = Geometry(gram=gram_matrix(updates))
        gram = centred_gram(updates, geometry.gram)
        alpha = torch.full_like(gram[0], 1 / len(gram))
        if self.convention == "byzfl":
            weight = step(alpha, row_norms(updates), 0.1)
            for _ in range(2):
                weight = step(alpha, distances_to_mixture(gram, weight), 0.1)
        else:
            weight = self._official_weights(gram, alpha)
        objective = float(alpha @ distances_to_mixture(gram, weight))
        report = {"rfa/objective": objective}
        return Aggregation(weighted_sum(updates, weight), weight, state, report, geometry)

    def _official_weights(self, gram: Tensor, alpha: Tensor) -> Tensor:
        weight, distances = alpha, distances_to_mixture(gram, alpha)
        for _ in range(self.max_iterations):
            before = alpha @ distances
            weight = step(alpha, distances, self.smoothing)
            distances = distances_to_mixture(gram, weight)
            objective = alpha @ distances
            if (before - objective).abs() < self.tolerance * objective:
                break
        return weight
