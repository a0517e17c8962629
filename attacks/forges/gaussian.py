"""Gaussian: noise in place of what was learned.

Source: Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017, section 5 (there with a standard
deviation of 200).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.attacks.threat_model import OWN_DATA
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Gaussian(Forge):
    """Sends N(0, std^2) in every coordinate, drawn anew for each colluder.

    Args:
        std: the standard deviation, above 0.
    """

    knowledge: ClassVar[str] = OWN_DATA

    std: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.std < float("inf"):
            raise UserError(f"std: must be above 0, got {self.std!r}")

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns noise [m, d]."""
        noise = torch.randn(collusion.own.shape, generator=rng, device=rng.device)
        return noise.mul_(self.std).to(collusion.own)
