"""ComplEx: DistMult with complex vectors, Re(sum h r conj(t)), so that a relation may have a direction.

Source: Trouillon et al., "Complex Embeddings for Simple Link Prediction", ICML 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from hauberk.tasks.graph.models.base import ScoreFunction, as_complex, as_real, pykeen


@dataclass(frozen=True, kw_only=True)
class ComplEx(ScoreFunction):
    """A Hermitian form with a diagonal matrix for each relation."""

    complex_entities: ClassVar[bool] = True
    complex_relations: ClassVar[bool] = True

    def interaction(self) -> Any:
        """Returns pykeen's ComplExInteraction."""
        return pykeen("nn.modules").ComplExInteraction()

    def tail_queries(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Returns h r, whose product with conj(t) has the sum of both parts' products as its real part."""
        return as_real(as_complex(heads) * as_complex(relations))

    def head_queries(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Returns conj(r) t: Re(h r conj(t)) is the product of h with it."""
        return as_real(as_complex(relations).conj() * as_complex(tails))

    def against(self, queries: Tensor, table: Tensor) -> Tensor:
        """Returns the products."""
        return queries @ table.T
