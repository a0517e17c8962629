"""RotatE: a relation turns each complex number of the head, -||h r - t|| with |r| = 1.

Source: Sun et al., "RotatE: Knowledge Graph Embedding by Relational Rotation in Complex Space", ICLR 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hauberk.tasks.graph.models.base import ScoreFunction, as_complex, as_real, negative_distances, pykeen


@dataclass(frozen=True, kw_only=True)
class RotatE(ScoreFunction):
    """The distance between the turned head and the tail; what is learned of a relation is its angles."""

    complex_entities: ClassVar[bool] = True

    def interaction(self) -> Any:
        """Returns pykeen's RotatEInteraction."""
        return pykeen("nn.modules").RotatEInteraction()

    def relation_form(self, vectors: Tensor) -> Tensor:
        """Returns the complex numbers of modulus 1 that have these angles."""
        return torch.polar(torch.ones_like(vectors), vectors)

    def random_relations(self, n: int, rng: torch.Generator) -> Tensor:
        """Returns angles from the whole circle."""
        return (2 * torch.rand(n, self.relation_width, generator=rng) - 1) * math.pi

    def tail_queries(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Returns h r."""
        return as_real(as_complex(heads) * self.relation_form(relations))

    def head_queries(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Returns t conj(r), which is as far from h as h r from t: turning keeps distances."""
        return as_real(as_complex(tails) * self.relation_form(relations).conj())

    def against(self, queries: Tensor, table: Tensor) -> Tensor:
        """Returns minus the distances, which over complex numbers are those over their parts."""
        return negative_distances(queries, table, 2)
