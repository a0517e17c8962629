"""Krum and Multi-Krum: keep the updates that lie closest to their neighbours.

Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS
2017 (arXiv 1703.02757): s(i) = sum over the n - f - 2 nearest j of ||x_i - x_j||^2, squared as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, Cohort, Rule, State, TooFewClientsError, whole
from hauberk.strategies.columns import Updates, weighted_sum
from hauberk.strategies.conventions import KrumConvention, layout_for, named
from hauberk.strategies.norms import scaled_sum


@dataclass(frozen=True, kw_only=True)
class _Scored(Rule):
    """What Krum and Multi-Krum share: a score for each client."""

    n_malicious: int
    convention: KrumConvention = "paper"

    def __post_init__(self) -> None:
        whole(self, "n_malicious", least=0)
        named(self, self.convention)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]  # depends on the convention
        """Returns the layout where distances are taken tensor by tensor."""
        return frozenset({"layout"} if named(self, self.convention).by_tensor else ())

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless 2f + 2 < n_clients."""
        check_neighbours(self, self.n_malicious, n_clients)

    def _scores(self, updates: Updates, cohort: Cohort) -> Tensor:
        convention = named(self, self.convention)
        layout = layout_for(self, cohort.layout, updates.shape[1]) if convention.by_tensor else None
        return krum_scores(convention.distances(updates, layout), self.n_malicious, convention.left_out)


@dataclass(frozen=True, kw_only=True)
class Krum(_Scored):
    """Selects the update with the smallest summed squared distance to its neighbours.

    Of equal scores the lowest client id's counts.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f + 2 < n_clients.
        convention: "paper", or what a peer takes for the distance and the number of neighbours: "byzfl"
            (n - f - 1, squared), "flpoison" (n - f - 1, not squared), "epfml" (n - f - 2, 4th power),
            "federated_scope" (n - f - 2, the sum of each tensor's distance; needs ``cohort.layout``).
    """

    def __call__(
        self, updates: Updates, *, cohort: Cohort | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            TooFewClientsError: if there are too few clients for ``n_malicious``.
            ValueError: if the convention needs a layout that ``cohort`` lacks.
        """
        self.admit(updates)
        cohort = cohort or Cohort()
        scores = self._scores(updates, cohort)
        weight = equal_weights(scores, 1, cohort)
        return Aggregation(weighted_sum(updates, weight), weight, state, score_report("krum", scores, cohort))


@dataclass(frozen=True, kw_only=True)
class MultiKrum(_Scored):
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
            whole(self, "n_selected", least=1)

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless 2f + 2 < n_clients and n_selected <= n_clients."""
        check_neighbours(self, self.n_malicious, n_clients)
        if self.n_selected is not None and self.n_selected > n_clients:
            raise TooFewClientsError(
                f"MultiKrum needs n_selected <= n_clients, got n_selected={self.n_selected}"
                f" and n_clients={n_clients}."
            )

    def __call__(
        self, updates: Updates, *, cohort: Cohort | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            TooFewClientsError: if there are too few clients for ``n_malicious`` or ``n_selected``.
            ValueError: if the convention needs a layout that ``cohort`` lacks.
        """
        self.admit(updates)
        cohort = cohort or Cohort()
        scores = self._scores(updates, cohort)
        n_selected = self.n_selected or len(updates) - self.n_malicious
        weight = equal_weights(scores, n_selected, cohort)
        if named(self, self.convention).summed:
            update = scaled_sum(updates, weight * n_selected)
        else:
            update = weighted_sum(updates, weight)
        return Aggregation(update, weight, state, score_report("multi_krum", scores, cohort))


def krum_scores(distances: Tensor, n_malicious: int, left_out: int = 2) -> Tensor:
    """Returns each client's sum over its n - f - 2 nearest, shape [n_clients]; lower is more trusted.

    Args:
        distances: squared distances, shape [n_clients, n_clients].
        n_malicious: f.
        left_out: the 2 in n - f - 2.
    """
    # Leaving out the diagonal, not the smallest entry: two equal rows are neighbours at distance 0.
    others = distances.clone().fill_diagonal_(torch.inf)
    n_neighbours = len(distances) - n_malicious - left_out
    return others.topk(n_neighbours, largest=False).values.sum(dim=1)


def equal_weights(scores: Tensor, n_selected: int, cohort: Cohort | None = None) -> Tensor:
    """Returns 1 / n_selected for the lowest ``scores`` [n_clients] and 0 for the others; ties by client id."""
    by_id = (cohort or Cohort()).by_id(len(scores)).to(scores.device)
    weight = torch.zeros_like(scores)
    weight[by_id[scores[by_id].argsort(stable=True)[:n_selected]]] = 1 / n_selected
    return weight


def score_report(rule: str, scores: Tensor, cohort: Cohort | None) -> dict[str, float]:
    """Returns the score of each client under the name "rule/score/client id"."""
    ids = (cohort or Cohort()).ids(len(scores))
    return {f"{rule}/score/{client_id}": float(score) for client_id, score in zip(ids, scores, strict=True)}


def check_neighbours(rule: object, n_malicious: int, n_clients: int) -> None:
    """Raises TooFewClientsError unless every client has a neighbour: 2f + 2 < n_clients."""
    if not 2 * n_malicious + 2 < n_clients:
        raise TooFewClientsError(
            f"{type(rule).__name__} needs 2f + 2 < n_clients, got f={n_malicious} and n_clients={n_clients}."
        )
