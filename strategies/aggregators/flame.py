"""FLAME: keep the majority of the local models that point one way, clip to the median norm, add noise.

Source: Nguyen et al., "FLAME: Taming Backdoors in Federated Learning", USENIX Security 2022 (arXiv
2101.02281): HDBSCAN(min_cluster_size = floor(n / 2) + 1, min_samples = 1, allow_single_cluster) over the cosine
distances of the local models; S = median norm of all updates; noise N(0, (lambda S)^2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range
from hauberk.strategies.kernels.angles import cosine_distances
from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.clusters import majority
from hauberk.strategies.kernels.distances import gram_matrix
from hauberk.strategies.kernels.geometry import Geometry
from hauberk.strategies.kernels.noise import add_gaussian
from hauberk.strategies.kernels.norms import clip_factors, median_of, scaled_sum
from hauberk.strategies.requirements import required_vector


@dataclass(frozen=True, kw_only=True)
class FLAME(Rule):
    """Averages the clipped updates of the majority cluster, and blurs the mean.

    With clusters that hold a majority HDBSCAN is single linkage: it keeps the first group of more than half
    of the clients that forms when they are linked in the order of their distances.

    Args:
        noise: lambda, the standard deviation of the noise over the median norm; the paper's 0.001 for images
            and text (recalled, not verified).
        convention: "paper", or "zhmzm" as that much-used repository's code has it: HDBSCAN takes the rows of
            the distance matrix for points in space, and the i-th believed client is clipped by the norm of
            the i-th of all clients (here in the order of their ids). For comparison only.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"parameters"})

    noise: float = 1e-3
    convention: Literal["paper", "zhmzm"] = "paper"

    def __post_init__(self) -> None:
        check_range(self, "noise", least=0)
        if self.convention not in ("paper", "zhmzm"):
            raise ValueError(f"FLAME.convention must be 'paper' or 'zhmzm', got {self.convention!r}.")

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            ValueError: if ``context`` lacks parameters as long as the rows.
        """
        self.admit(updates)
        context = context or AggregationContext()
        ids = context.ids(len(updates))
        parameters = required_vector(self, context, "parameters", updates)
        gram = gram_matrix(updates)
        distances = cosine_distances(updates, parameters, gram)
        believed = majority(distances, ids, precomputed=self.convention == "paper")
        norms = gram.diagonal().sqrt()
        bound = median_of(norms)
        factors = clip_factors(norms, bound)
        if self.convention == "zhmzm":
            factors = misplaced_factors(factors, believed, context.by_id(len(updates)))
        weight = believed / believed.sum(dtype=torch.float64)
        update = scaled_sum(updates, weight * factors)
        add_gaussian(update, min(self.noise * bound, torch.finfo(updates.dtype).max), context.rng)
        report = {"flame/believed": float(believed.sum()), "flame/bound": bound}
        return Aggregation(update, weight, state, report, Geometry(gram=gram))


def misplaced_factors(factors: Tensor, believed: Tensor, by_id: Tensor) -> Tensor:
    """Returns ``factors`` [n_clients] with the first of them in the places of those who are believed."""
    members = by_id[believed[by_id]]
    shifted = factors.clone()
    shifted[members] = factors[by_id[: len(members)]]
    return shifted
