"""TransE: a relation is a translation, -||h + r - t||.

Source: Bordes et al., "Translating Embeddings for Modeling Multi-relational Data", NeurIPS 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.models.base import ScoreFunction, negative_distances, pykeen


@dataclass(frozen=True, kw_only=True)
class TransE(ScoreFunction):
    """The distance between where a relation leads from the head, and the tail.

    Args:
        norm: 1 or 2.
    """

    norm: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm not in (1, 2):
            raise UserError(f"norm: must be 1 or 2, got {self.norm!r}")

    def interaction(self) -> Any:
        """Returns pykeen's TransEInteraction."""
        return pykeen("nn.modules").TransEInteraction(p=self.norm)

    def tail_queries(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Returns h + r."""
        return heads + relations

    def head_queries(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Returns t - r."""
        return tails - relations

    def against(self, queries: Tensor, table: Tensor) -> Tensor:
        """Returns minus the distances."""
        return negative_distances(queries, table, self.norm)
