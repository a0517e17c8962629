"""What Krum and Multi-Krum share: a convention, and a score for each client."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.strategies.aggregators._client_scores import check_neighbours
from hauberk.strategies.aggregators._krum_conventions import KrumConvention, convention_named, layout_for
from hauberk.strategies.base import AggregationContext, Rule, check_integer
from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.geometry import Geometry
from hauberk.strategies.kernels.krum_scores import krum_scores


@dataclass(frozen=True, kw_only=True)
class KrumRule(Rule):
    """What Krum and Multi-Krum share: a score for each client."""

    n_malicious: int
    convention: KrumConvention = "paper"

    def __post_init__(self) -> None:
        check_integer(self, "n_malicious", least=0)
        convention_named(self, self.convention)

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]  # depends on the convention
        """Returns the layout where distances are taken tensor by tensor."""
        return frozenset({"layout"} if convention_named(self, self.convention).by_tensor else ())

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless 2f + 2 < n_clients."""
        check_neighbours(self, self.n_malicious, n_clients)

    def _scores(self, updates: Updates, context: AggregationContext) -> tuple[Tensor, Geometry]:
        convention = convention_named(self, self.convention)
        layout = layout_for(self, context.layout, updates.shape[1]) if convention.by_tensor else None
        distances, geometry = convention.distances(updates, layout)
        return krum_scores(distances, self.n_malicious, convention.left_out), geometry
