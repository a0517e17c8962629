"""Zero: send back what was received.

Source: Lin, Du and Liu, "Free-riders in Federated Learning: Attacks and Defenses", 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.attacks.threat_model import OWN_DATA


@dataclass(frozen=True, kw_only=True)
class Zero(Forge):
    """Sends updates of nothing."""

    knowledge: ClassVar[str] = OWN_DATA

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns zeros [m, d]."""
        return torch.zeros_like(collusion.own)
