"""MinSum: no farther from all honest updates together than the one of them that is farthest from the others.

Source: Shejwalkar and Houmansadr, NDSS 2021, eq. (6): sum_k ||m - x_k||^2 <= max_i sum_j ||x_i - x_j||^2.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.attacks.forges._farthest import Farthest, larger_root


@dataclass(frozen=True, kw_only=True)
class MinSum(Farthest):
    """Keeps its sum of squared distances within the largest among the honest."""

    def gamma(self, square: float, inner: Tensor, apart: Tensor, distances: Tensor) -> float:
        """Returns the gamma at which the sum is as large as allowed."""
        rest = apart.sum() - distances.sum(dim=1).max().cpu()
        return float(larger_root(len(apart) * square, inner.sum(), rest))
