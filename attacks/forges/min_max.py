"""MinMax: no farther from any honest update than two honest updates are from each other.

Source: Shejwalkar and Houmansadr, NDSS 2021, eq. (5): max_k ||m - x_k|| <= max_ij ||x_i - x_j||.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.attacks.forges._farthest import Farthest, larger_root


@dataclass(frozen=True, kw_only=True)
class MinMax(Farthest):
    """Keeps its largest distance within the largest among the honest."""

    def gamma(self, square: float, inner: Tensor, apart: Tensor, distances: Tensor) -> float:
        """Returns the smallest over k of the gamma at which the distance to x_k is as large as allowed."""
        return float(larger_root(square, inner, apart - distances.max().cpu()).min())
