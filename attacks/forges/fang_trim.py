"""FangTrim: in every coordinate just outside the honest values, on the side against the honest direction.

Source: Fang et al., "Local Model Poisoning Attacks to Byzantine-Robust Federated Learning", USENIX Security 2020,
section 4.3 (trimmed mean and median, full knowledge, b = 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.attacks.threat_model import THE_RULE
from hauberk.strategies.kernels.chunks import column_chunks
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class FangTrim(Forge):
    """Draws between the honest extreme and ``b`` times it; it assumes a rule that works coordinate by coordinate.

    Args:
        b: how far outside, above 1.
    """

    knowledge: ClassVar[str] = THE_RULE

    b: float = 2.0

    def __post_init__(self) -> None:
        if not self.b > 1:
            raise UserError(f"b: must be above 1, got {self.b!r}")

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns rows [m, d]: below the honest minimum where the honest mean rises, else above the maximum."""
        rows = torch.empty_like(collusion.own)
        for part, benign in column_chunks(collusion.benign):
            rises = benign.mean(dim=0) > 0
            low, high = benign.aminmax(dim=0)
            edge = torch.where(rises, low, high)
            # Away from the mean is away from 0 where the edge lies on its own side of 0, and towards 0 else.
            outwards = torch.where(rises, edge <= 0, edge >= 0)
            end = torch.where(outwards, edge * self.b, edge / self.b)
            drawn = torch.rand(len(rows), len(edge), generator=rng, device=rng.device).to(edge)
            rows[:, part] = edge + (end - edge) * drawn
        return rows
