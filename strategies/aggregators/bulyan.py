"""Bulyan: Krum again and again, then for each parameter the mean of the values closest to the median.

Source: El Mhamdi, Guerraoui and Rouault, "The Hidden Vulnerability of Distributed Learning in Byzantium", ICML
2018 (arXiv 1802.07927): theta = n - 2f picks, then the theta - 2f picked values nearest to their median.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hauberk.strategies.aggregators._client_scores import score_report
from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    TooFewClientsError,
    check_integer,
)
from hauberk.strategies.kernels.chunks import Mixture, Updates
from hauberk.strategies.kernels.geometry import measured_distances
from hauberk.strategies.kernels.krum_scores import krum_scores
from hauberk.strategies.kernels.mean_around_median import mean_of_closest

CONVENTIONS = ("paper", "garfield")


@dataclass(frozen=True, kw_only=True)
class Bulyan(Rule):
    """Picks theta updates by Krum, then averages what is closest to their median, coordinate by coordinate.

    Each pick is Krum's winner among those that are left; of n_left of them the n_left - f - 2 nearest count,
    and at least 1, as in Flower (the paper leaves the last picks, where none would count, open). With one
    neighbour two nearest rows always tie: of equal scores the lowest client id's is picked. The distances
    are calculated once.

    Args:
        n_malicious: f, the number of malicious clients to withstand; n_clients >= 4f + 3.
        convention: "paper", or "garfield" as that library's code has it: scores are sums of distances that
            are not squared and stay as they are while clients are picked; the i-th of n - 2f - 2 picks is
            the mean of the clients from rank i to rank n - f - 2; the median is the lower one.
    """

    n_malicious: int
    convention: Literal["paper", "garfield"] = "paper"

    def __post_init__(self) -> None:
        check_integer(self, "n_malicious", least=0)
        if self.convention not in CONVENTIONS:
            raise ValueError(f"Bulyan.convention must be one of {CONVENTIONS}, got {self.convention!r}.")

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless n_clients >= 4f + 3."""
        if n_clients < 4 * self.n_malicious + 3:
            raise TooFewClientsError(
                f"Bulyan needs n_clients >= 4f + 3, got f={self.n_malicious} and n_clients={n_clients}."
            )

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        The weight says how much each client counted among the picks.

        Raises:
            TooFewClientsError: if there are too few clients for ``n_malicious``.
        """
        self.admit(updates)
        context = context or AggregationContext()
        garfield = self.convention == "garfield"
        distances, geometry = measured_distances(updates)
        distances = distances.sqrt() if garfield else distances
        by_id = context.by_id(len(updates)).to(distances.device)
        mixing = torch.zeros_like(distances)
        mixing[:, by_id] = (_garfield_picks if garfield else _paper_picks)(
            distances[by_id][:, by_id], self.n_malicious
        )
        mixing = mixing[mixing.any(dim=1)]
        n_kept = len(mixing) - 2 * self.n_malicious
        update = mean_of_closest(Mixture(updates, mixing), n_kept, lower_median=garfield)
        report = score_report("bulyan", krum_scores(distances, self.n_malicious), context)
        return Aggregation(update, mixing.mean(dim=0), state, report, geometry)


def picks(distances: Tensor, n_malicious: int) -> list[int]:
    """Returns the n - 2f rows that Krum picks one after the other, each time among those that are left.

    Args:
        distances: squared distances, shape [n_clients, n_clients].
        n_malicious: f.
    """
    n_clients = len(distances)
    nearest = distances.sort(dim=1)
    others = nearest.indices != torch.arange(n_clients, device=distances.device)[:, None]
    left = torch.ones(n_clients, dtype=torch.bool, device=distances.device)
    picked = []
    for n_left in range(n_clients, 2 * n_malicious, -1):
        # A running score minus the picked one's distance would be wrong beside a row 1e30 away.
        neighbours = others & left[nearest.indices]
        neighbours &= neighbours.cumsum(dim=1) <= max(1, n_left - n_malicious - 2)
        scores = torch.where(neighbours, nearest.values, 0.0).sum(dim=1)
        rows = left.nonzero().squeeze(1)
        picked.append(int(rows[scores[rows].argmin()]))
        left[picked[-1]] = False
    return picked


def _paper_picks(distances: Tensor, n_malicious: int) -> Tensor:
    """Returns which row each pick is, as a mixing matrix; rows of zeros are no picks."""
    mixing = torch.zeros_like(distances)
    picked = picks(distances, n_malicious)
    mixing[range(len(picked)), picked] = 1
    return mixing


def _garfield_picks(distances: Tensor, n_malicious: int) -> Tensor:
    """Returns how much each row counts in each pick, as a mixing matrix; rows of zeros are no picks."""
    mixing = torch.zeros_like(distances)
    order = krum_scores(distances, n_malicious).argsort(stable=True)[: len(distances) - n_malicious - 2]
    for pick in range(len(distances) - 2 * n_malicious - 2):
        mixing[pick, order[pick:]] = 1 / (len(order) - pick)
    return mixing
