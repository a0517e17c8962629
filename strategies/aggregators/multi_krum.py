"""Multi-Krum: average the updates that lie closest to their neighbours.

Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS
2017 (arXiv 1703.02757): s(i) = sum over the n - f - 2 nearest j of ||x_i - x_j||^2, squared as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.strategies.aggregators._client_scores import check_neighbours, equal_weights, score_report
from hauberk.strategies.aggregators._krum_conventions import convention_named
from hauberk.strategies.aggregators._krum_rule import KrumRule
from hauberk.strategies.base import Aggregation, AggregationContext, State, TooFewClientsError, check_integer
from hauberk.strategies.kernels.chunks import Updates, weighted_sum
from hauberk.strategies.kernels.norms import scaled_sum


@dataclass(frozen=True, kw_only=True)
class MultiKrum(KrumRule):
    """Averages the updates with the smallest Krum scores.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f + 2 < n_clients.
        convention: as for ``Krum``; under "epfml" the selected updates are summed, not averaged.
            FederatedScope also weighs by claimed example counts; we do not.
        n_selected: how many updates to average, at most n_clients; by default n_clients - f. The paper's
            theory wants at most n_clients - f - 2; FLPoison's own default is a fifth of the clients.
    """

    n_selected: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_selected is not None:
            check_integer(self, "n_selected", least=1)

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless 2f + 2 < n_clients and n_selected <= n_clients."""
        check_neighbours(self, self.n_malicious, n_clients)
        if self.n_selected is not None and self.n_selected > n_clients:
            raise TooFewClientsError(
                f"MultiKrum needs n_selected <= n_clients, got n_selected={self.n_selected}"
                f" and n_clients={n_clients}."
            )

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            TooFewClientsError: if there are too few clients for ``n_malicious`` or ``n_selected``.
            ValueError: if the convention needs a layout that ``context`` lacks.
        """
        self.admit(updates)
        context = context or AggregationContext()
        scores, geometry = self._scores(updates, context)
        n_selected = self.n_selected or len(updates) - self.n_malicious
        weight = equal_weights(scores, n_selected, context)
        if convention_named(self, self.convention).summed:
            update = scaled_sum(updates, weight * n_selected)
        else:
            update = weighted_sum(updates, weight)
        report = score_report("multi_krum", scores, context)
        return Aggregation(update, weight, state, report, geometry)
