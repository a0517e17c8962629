"""DimKrumShift: no coordinate farther from the honest mean than so many honest standard deviations.

An adaptive attack on Dim-Krum (Zhang, Su and Sun, Findings of EMNLP 2022) by a bound like ALIE's; its form is a
reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.attacks.forges._dim_krum_bound import DimKrumForge
from hauberk.attacks.forges._moments import mean_and_std
from hauberk.attacks.forges.base import Collusion
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DimKrumShift(DimKrumForge):
    """Clips own updates to mu +- z * sigma, with the largest z that the guessed rule lets pass.

    Args:
        z: a bound of one's own in place of the search.
        floor: the least sigma, in units of the root mean square one: a coordinate that no honest client moves,
            such as a rare trigger's word vector, could not be moved otherwise.
        most: the largest z that is tried; beyond it, updates are sent as they are if they pass.
        halvings: how often the range of z is halved.
    """

    z: float | None = None
    floor: float = 0.1
    most: float = 20.0
    halvings: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.z is not None and not self.z > 0:
            raise UserError(f"z: must be above 0, got {self.z!r}")
        if not self.floor >= 0:
            raise UserError(f"floor: must be at least 0, got {self.floor!r}")
        for key in ("most", "halvings"):
            if not getattr(self, key) > 0:
                raise UserError(f"{key}: must be above 0, got {getattr(self, key)!r}")

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns the clipped rows [m, d]; nothing is random here."""
        mean, std = mean_and_std(collusion.benign)
        std = std.clamp(min=self.floor * float(std.norm()) / len(std) ** 0.5)

        def clipped(z: float) -> Tensor:
            return collusion.own.clamp(mean - z * std, mean + z * std)

        if self.z is not None:
            return clipped(self.z)
        if self.would_be_kept(collusion.own, collusion):
            return collusion.own.clone()
        low, high = 0.0, self.most
        for _ in range(self.halvings):
            middle = (low + high) / 2
            low, high = (middle, high) if self.would_be_kept(clipped(middle), collusion) else (low, middle)
        collusion.report["z"] = low
        return clipped(low)
