"""Krum: keep the one update that lies closest to its neighbours.

Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS
2017 (arXiv 1703.02757): s(i) = sum over the n - f - 2 nearest j of ||x_i - x_j||^2, squared as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.strategies.aggregators._client_scores import equal_weights, score_report
from hauberk.strategies.aggregators._krum_rule import KrumRule
from hauberk.strategies.base import Aggregation, AggregationContext, State
from hauberk.strategies.kernels.chunks import Updates, weighted_sum


@dataclass(frozen=True, kw_only=True)
class Krum(KrumRule):
    """Selects the update with the smallest summed squared distance to its neighbours.

    Of equal scores the lowest client id's counts.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f + 2 < n_clients.
        convention: "paper", or what a peer takes for the distance and the number of neighbours: "byzfl"
            (n - f - 1, squared), "flpoison" (n - f - 1, not squared), "epfml" (n - f - 2, 4th power),
            "federated_scope" (n - f - 2, the sum of each tensor's distance; needs ``context.layout``).
    """

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            TooFewClientsError: if there are too few clients for ``n_malicious``.
            ValueError: if the convention needs a layout that ``context`` lacks.
        """
        self.admit(updates)
        context = context or AggregationContext()
        scores, geometry = self._scores(updates, context)
        weight = equal_weights(scores, 1, context)
        report = score_report("krum", scores, context)
        return Aggregation(weighted_sum(updates, weight), weight, state, report, geometry)
