"""MoNNA: the mean of the n - f updates nearest to one that is trusted, or as central as any.

Source: Farhadkhani, Guerraoui, Gupta, Hoang, Pinot and Stephan, "Robust Collaborative Learning with Linear
Gradient Overhead", ICML 2023 (arXiv 2209.10931). There, each node trusts its own update: a server's is its root
update, and one without data of its own has none to trust.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    check_integer,
    check_majority,
)
from hauberk.strategies.kernels.chunks import Updates, weighted_sum
from hauberk.strategies.kernels.distances import distances_to
from hauberk.strategies.kernels.geometry import Geometry, measured_distances
from hauberk.strategies.requirements import required_vector

Pivot = Literal["medoid", "root"]

_ROUNDING = 1e-9  # relative, of a sum of distances
_FAR = 1e6  # times the size of the closest n - f: distances beyond would swallow the others' digits


@dataclass(frozen=True, kw_only=True)
class MoNNA(Rule):
    """Averages the n - f updates nearest to a pivot; of equally near ones the lowest client ids.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f < n_clients.
        pivot: "root", the server's root update, as in the paper; it is not averaged itself. "medoid", the update
            with the least sum of distances to all others: ours, and the default, for a server without data of its
            own. Or the id of a client, who must be honest.
    """

    n_malicious: int
    pivot: int | Pivot = "medoid"

    def __post_init__(self) -> None:
        check_integer(self, "n_malicious", least=0)
        if isinstance(self.pivot, str):
            if self.pivot not in get_args(Pivot):
                raise ValueError(f"MoNNA.pivot must be 'medoid', 'root' or a client id, got {self.pivot!r}.")
        else:
            check_integer(self, "pivot", least=0)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]  # depends on the pivot
        """Returns the root update where it is the pivot."""
        return frozenset({"root_update"} if self.pivot == "root" else ())

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless 2f < n_clients."""
        check_majority(self, self.n_malicious, n_clients)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            TooFewClientsError: if there are too few clients for ``n_malicious``.
            ValueError: if the pivot is not among the clients, or is a root update that ``context`` lacks.
        """
        self.admit(updates)
        context = context or AggregationContext()
        n_nearest = len(updates) - self.n_malicious
        distances, geometry = self._distances(updates, context, n_nearest)
        by_id = context.by_id(len(updates)).to(distances.device)
        weight = torch.zeros_like(distances)
        weight[by_id[distances[by_id].argsort(stable=True)[:n_nearest]]] = 1 / n_nearest
        report = {"monna/radius": float(distances[weight > 0].max())}
        return Aggregation(weighted_sum(updates, weight), weight, state, report, geometry)

    def _distances(
        self, updates: Updates, context: AggregationContext, n_nearest: int
    ) -> tuple[Tensor, Geometry | None]:
        """Returns the distance of each row to the pivot, shape [n_clients], and what it comes from."""
        if self.pivot == "root":
            return distances_to(updates, required_vector(self, context, "root_update", updates)), None
        squared, geometry = measured_distances(updates)
        distances = squared.sqrt()
        ids = context.ids(len(updates))
        if self.pivot == "medoid":
            by_id = context.by_id(len(updates)).to(distances.device)
            return distances[medoid(distances, by_id, n_nearest)], geometry
        if self.pivot not in ids:
            raise ValueError(f"MoNNA.pivot must be one of the {len(ids)} client ids, got {self.pivot}.")
        return distances[ids.index(self.pivot)], geometry


def medoid(distances: Tensor, by_id: Tensor, n_nearest: int) -> int:
    """Returns the row with the least sum of distances [n_clients, n_clients] to all others.

    Of rows that tie, the one whose ``n_nearest`` (itself among them) are closest counts, then the first in
    ``by_id``.
    """
    nearest = distances.sort(dim=1).values[:, :n_nearest]
    sums = distances.clamp(max=_FAR * float(nearest[:, -1].min())).sum(dim=1)
    rows = by_id
    for scores in (sums, nearest.sum(dim=1)):
        rows = rows[scores[rows] <= scores[rows].min() * (1 + _ROUNDING)]
    return int(rows[0])
