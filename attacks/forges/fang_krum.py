"""FangKrum: the update farthest against the honest direction that Krum still chooses.

Source: Fang et al., "Local Model Poisoning Attacks to Byzantine-Robust Federated Learning", USENIX Security 2020,
section 4.2: -lambda * s with s the signs of the honest change, lambda halved from an upper bound until Krum
chooses it; the other colluders send the same, so as to be near it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.attacks.forges._moments import dot, mean_of, products, repeated
from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.attacks.threat_model import THE_RULE
from hauberk.strategies.kernels.distances import squared_distances
from hauberk.strategies.kernels.krum_scores import krum_scores
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class FangKrum(Forge):
    """Sends minus lambda times the signs of the honest mean; it assumes that the rule is Krum.

    Args:
        least: the lambda below which the search gives up.
    """

    knowledge: ClassVar[str] = THE_RULE

    least: float = 1e-5

    def __post_init__(self) -> None:
        if not self.least > 0:
            raise UserError(f"least: must be above 0, got {self.least!r}")

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns the same row for every colluder [m, d]; nothing is random here."""
        signs = mean_of(collusion.benign).sign()
        collusion.report["lambda"] = strength = self.strength(collusion, signs)
        return repeated(-strength * signs, collusion.own)

    def strength(self, collusion: Collusion, signs: Tensor) -> float:
        """Returns the first lambda, halved from the upper bound, with which Krum chooses a colluder."""
        m, n = len(collusion.own), len(collusion.own) + len(collusion.benign)
        inner, squares = products(collusion.benign, torch.zeros_like(signs), signs)
        square = dot(signs, signs)
        distances = torch.zeros(n, n, dtype=torch.float64)
        distances[m:, m:] = squared_distances(collusion.benign).cpu()
        strength = _largest_lambda(distances[m:, m:], squares, n, m, max(square, 1.0))
        while strength > self.least:
            # ||-strength * s - x_k||^2, with inner = <0 - x_k, s>
            distances[:m, m:] = strength**2 * square - 2 * strength * inner + squares
            distances[m:, :m] = distances[:m, m:].T
            if int(krum_scores(distances, _assumed_f(n, m)).argmin()) < m:
                return strength
            strength /= 2
        return strength


def _largest_lambda(distances: Tensor, squares: Tensor, n: int, m: int, square: float) -> float:
    """Returns the paper's upper bound of lambda (theorem 1)."""
    nearest = distances.sort(dim=1).values[:, 1 : max(1, n - m - 2) + 1].sum(dim=1).min()
    return float((nearest / (max(1, n - 2 * m - 1) * square)).sqrt() + (squares.max() / square).sqrt())


def _assumed_f(n: int, m: int) -> int:
    """Returns the f with which Krum has at least one neighbour to look at."""
    return n - 2 - max(1, n - m - 2)
