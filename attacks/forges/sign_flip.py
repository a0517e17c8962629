"""SignFlip: send the opposite of what was learned.

Source: Li et al., "RSA: Byzantine-Robust Stochastic Aggregation Methods", AAAI 2019, section 5.
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
class SignFlip(Forge):
    """Sends minus ``scale`` times what each colluder trained.

    Args:
        scale: how far to go the other way, above 0.
    """

    knowledge: ClassVar[str] = OWN_DATA

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise UserError(f"scale: must be above 0, got {self.scale!r}")

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns the flipped rows [m, d]; nothing is random here."""
        return -self.scale * collusion.own
