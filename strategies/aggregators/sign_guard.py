"""SignGuard: drop updates of unusual length, and those whose share of positive and negative signs is unusual.

Source: Xu, Huang, Song and Lan, "Byzantine-robust Federated Learning through Collaborative Malicious Gradient
Filtering", ICDCS 2022 (arXiv 2109.05872), and its official code: the norm within (L, R) times the median norm;
mean shift over the shares of signs, each over the largest share of any client; who passes both is clipped to
the median norm and averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range, skipped_round
from hauberk.strategies.kernels.chunks import Updates, sum_of_slices
from hauberk.strategies.kernels.clusters import biggest
from hauberk.strategies.kernels.norms import clip_factors, median_of, row_norms, scaled_sum


@dataclass(frozen=True, kw_only=True)
class SignGuard(Rule):
    """Averages the clipped updates whose norm and signs are those of most.

    The code counts the signs of a tenth of the coordinates, neighbours from a random start, which in a
    language model is a piece of the word table; ours counts all of them, and nothing is left to chance. It
    takes the lower of two middle norms for the median, ours their mean. Where no update passes both filters
    the result is 0, and no client counts.

    Args:
        lower: L; shorter updates than this times the median norm are dropped.
        upper: R; longer ones than this times the median norm are dropped.
    """

    lower: float = 0.1
    upper: float = 3.0

    def __post_init__(self) -> None:
        check_range(self, "lower", least=0, most=1)
        check_range(self, "upper", least=1)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through."""
        self.admit(updates)
        norms = row_norms(updates)
        bound = median_of(norms)
        usual_norm = (norms >= self.lower * bound) & (norms <= self.upper * bound)
        usual_signs = largest_sign_cluster(
            sign_shares(updates), (context or AggregationContext()).by_id(len(updates))
        )
        believed = usual_norm & usual_signs
        report = {
            "sign_guard/usual_norm": float(usual_norm.sum()),
            "sign_guard/usual_signs": float(usual_signs.sum()),
            "sign_guard/believed": float(believed.sum()),
        }
        if not believed.any():
            return skipped_round(updates, state, report)
        weight = believed / believed.sum(dtype=torch.float64)
        return Aggregation(scaled_sum(updates, weight * clip_factors(norms, bound)), weight, state, report)


def sign_shares(updates: Updates) -> Tensor:
    """Returns the share of positive, zero and negative entries of each row, [n_clients, 3] in float64."""

    def counts(_: slice, rows: Updates) -> Tensor:
        part = rows[:, :]
        return torch.stack([(part > 0).sum(dim=1), (part < 0).sum(dim=1)]).double()

    positive, negative = sum_of_slices(updates, counts)
    n_params = updates.shape[1]
    return torch.stack([positive, n_params - positive - negative, negative], dim=1) / n_params


def largest_sign_cluster(shares: Tensor, by_id: Tensor) -> Tensor:
    """Returns who is in the largest cluster of the shares of signs, shape [n_clients], bool.

    Mean shift with the bandwidth that the code has: the mean distance to the floor(n / 2)-th nearest, oneself
    included; features are divided by their largest value.

    Args:
        shares: shape [n_clients, 3].
        by_id: the rows in the order of the client ids, in which the clusters are searched.
    """
    from sklearn.cluster import MeanShift, estimate_bandwidth  # a second that other rules need not wait for

    features = (shares / (shares.amax(dim=0) + 1e-8))[by_id].cpu().numpy()
    # A bandwidth of 0, where half of the clients are equal, has no seeds.
    bandwidth = max(float(estimate_bandwidth(features, quantile=0.5)), 1e-6)
    found = MeanShift(bandwidth=bandwidth, cluster_all=False).fit_predict(features)
    labels = torch.empty(len(shares), dtype=torch.int64)
    labels[by_id] = torch.from_numpy(found).long()
    return biggest(labels)
