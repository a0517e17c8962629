"""DistMult: a relation weighs the products of what head and tail have in common, sum h r t.

Source: Yang et al., "Embedding Entities and Relations for Learning and Inference in Knowledge Bases", ICLR 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hauberk.tasks.graph.models.base import ScoreFunction, pykeen


@dataclass(frozen=True, kw_only=True)
class DistMult(ScoreFunction):
    """A bilinear form with a diagonal matrix for each relation: symmetric in head and tail."""

    def interaction(self) -> Any:
        """Returns pykeen's DistMultInteraction."""
        return pykeen("nn.modules").DistMultInteraction()

    def tail_queries(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Returns h r."""
        return heads * relations

    def head_queries(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Returns r t."""
        return relations * tails

    def against(self, queries: Tensor, table: Tensor) -> Tensor:
        """Returns the products."""
        return queries @ table.T
