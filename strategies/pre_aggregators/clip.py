"""Static clipping before a rule: no update is longer than a threshold."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.strategies.base import AggregationContext, check_range
from hauberk.strategies.chain import PreAggregator
from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.norms import clip_factors, row_norms


@dataclass(frozen=True, kw_only=True)
class Clip(PreAggregator):
    """Cuts each update to a threshold in norm: x_k * min(1, threshold / ||x_k||).

    Args:
        threshold: the norm that none exceeds. There is no default: its scale is that of the updates.
    """

    threshold: float

    def __post_init__(self) -> None:
        check_range(self, "threshold", above=0)

    def mixing(self, updates: Updates, context: AggregationContext) -> Tensor:
        """Returns a diagonal matrix, shape [n_clients, n_clients]: how much of each update stays."""
        return clip_factors(row_norms(updates), self.threshold).diag()
