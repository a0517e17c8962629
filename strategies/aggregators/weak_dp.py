"""Weak differential privacy: norm clipping, then a little Gaussian noise on the aggregate.

Source: Sun, Kairouz, Suresh and McMahan, "Can You Really Backdoor Federated Learning?", 2019 (arXiv 1911.07963).
The noise is added once, to the mean, not by each client.
"""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.strategies.aggregators.norm_clip import clipped_mean
from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range
from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.noise import add_gaussian


@dataclass(frozen=True, kw_only=True)
class WeakDP(Rule):
    """Averages the updates, each cut to a threshold in norm, and adds N(0, noise^2) to every parameter.

    Args:
        threshold: M, the norm that none exceeds; by default the round's median norm, as in ``NormClip``.
        noise: the standard deviation of the noise, in units of a parameter: 0.025 is what the paper is
            remembered to use, with a small convolutional network; others use 0.002. For a language model
            whose updates have a standard deviation of 1e-4 either drowns them: set it to their scale.
    """

    threshold: float | None = None
    noise: float = 0.025

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_range(self, "threshold", above=0)
        check_range(self, "noise", least=0)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        The noise is drawn from ``context.rng``; the weight is each client's cut relative to the others'.
        """
        self.admit(updates)
        result = clipped_mean(updates, self.threshold, state, "weak_dp")
        add_gaussian(result.update, self.noise, (context or AggregationContext()).rng)
        return result
