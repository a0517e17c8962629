"""What Min-Max and Min-Sum share: mu + gamma * p, with the largest gamma that a bound on distances allows.

Source: Shejwalkar and Houmansadr, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses
for Federated Learning", NDSS 2021. The paper halves its way to gamma; both bounds are quadratic in gamma, so
here it is solved for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from hauberk.attacks.forges._moments import dot, mean_and_std, products, repeated
from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.strategies.kernels.distances import squared_distances
from hauberk.tasks.errors import UserError

Direction = Literal["unit", "std", "sign", "own"]


@dataclass(frozen=True, kw_only=True)
class Farthest(Forge):
    """Goes from the honest mean mu as far as its bound allows.

    Args:
        direction: "unit", against mu / ||mu||, which does a plain mean most harm; "std", against the standard
            deviation; "sign", against the signs of mu; "own", towards what each colluder trained, which keeps
            a backdoor.
    """

    direction: Direction = "unit"

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            choices = ", ".join(get_args(Direction))
            raise UserError(f"direction: must be one of {choices}, got {self.direction!r}")

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns rows [m, d] on the edge of the bound; nothing is random here."""
        mean, std = mean_and_std(collusion.benign)
        distances = squared_distances(collusion.benign)
        if self.direction == "own":
            return torch.stack([self._row(collusion, distances, mean, own - mean) for own in collusion.own])
        towards = {"std": -std, "unit": -mean / mean.norm().clamp(min=1e-30), "sign": -mean.sign()}
        row = self._row(collusion, distances, mean, towards[self.direction])
        return repeated(row, collusion.own)

    def gamma(self, square: float, inner: Tensor, apart: Tensor, distances: Tensor) -> float:
        """Returns the largest gamma that the bound allows.

        Args:
            square: ||p||^2, above 0.
            inner: <mu - x_k, p> for each honest update x_k, float64 [n_b].
            apart: ||mu - x_k||^2, float64 [n_b].
            distances: ||x_i - x_j||^2, float64 [n_b, n_b].
        """
        raise NotImplementedError(f"{type(self).__name__} has no bound.")

    def _row(self, collusion: Collusion, distances: Tensor, mean: Tensor, towards: Tensor) -> Tensor:
        square = dot(towards, towards)
        if not square > 0:
            return mean.clone()
        inner, apart = products(collusion.benign, mean, towards)
        gamma = self.gamma(square, inner, apart, distances)
        collusion.report["gamma"] = max(gamma, collusion.report.get("gamma", gamma))
        return mean + gamma * towards


def larger_root(square: Tensor | float, inner: Tensor, rest: Tensor) -> Tensor:
    """Returns the larger root of square * g^2 + 2 * inner * g + rest = 0, where ``rest`` <= 0."""
    root = (inner.square() - square * rest.clamp(max=0)).sqrt()
    # Of the two forms of the same root, the one that does not cancel.
    return torch.where(
        inner > 0, -rest.clamp(max=0) / (root + inner).clamp(min=1e-300), (root - inner) / square
    )
