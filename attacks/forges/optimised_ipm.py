"""OptimisedIPM: inner product manipulation with the epsilon that does most harm to the rule in use.

Sources: Xie, Koyejo and Gupta, UAI 2019; Gonzalez et al., "ByzFL", 2025, for the search.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.attacks.forges._moments import repeated
from hauberk.attacks.forges._optimised import Optimised


@dataclass(frozen=True, kw_only=True)
class OptimisedIPM(Optimised):
    """Searches epsilon."""

    def forged(self, own: Tensor, mean: Tensor, std: Tensor, strength: float) -> Tensor:
        """Returns the rows of IPM with epsilon = ``strength``."""
        return repeated(-strength * mean, own)
