"""Norm clipping: no update is longer than a threshold; then the mean.

Source: Sun, Kairouz, Suresh and McMahan, "Can You Really Backdoor Federated Learning?", 2019 (arXiv 1911.07963):
the mean of x_k / max(1, ||x_k|| / M).
"""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range
from hauberk.strategies.kernels.chunks import Updates, weighted_sum
from hauberk.strategies.kernels.norms import clip_factors, median_of, row_norms


@dataclass(frozen=True, kw_only=True)
class NormClip(Rule):
    """Averages the updates, each cut to a threshold in norm.

    Args:
        threshold: M, the norm that none exceeds; by default the round's median norm. The default is ours
            (the paper tries 3 and 5 on one model): the scale of an update depends on model and optimiser.
    """

    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_range(self, "threshold", above=0)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        The weight is each client's cut relative to the others'.
        """
        self.admit(updates)
        return clipped_mean(updates, self.threshold, state, "norm_clip")


def clipped_mean(updates: Updates, threshold: float | None, state: State | None, rule: str) -> Aggregation:
    """Returns the mean of the updates, each cut to ``threshold`` in norm, or to their median norm."""
    norms = row_norms(updates)
    threshold = median_of(norms) if threshold is None else threshold
    factors = clip_factors(norms, threshold)
    report = {f"{rule}/threshold": threshold, f"{rule}/clipped": float((factors < 1).sum())}
    update = weighted_sum(updates, factors / len(factors))
    return Aggregation(update, factors / factors.sum(), state, report)
