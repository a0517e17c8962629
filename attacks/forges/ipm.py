"""IPM: make the inner product of the aggregate and the honest mean negative.

Source: Xie, Koyejo and Gupta, "Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product Manipulation",
UAI 2019: every colluder sends -epsilon times the mean of the honest updates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.attacks.forges._moments import mean_of, repeated
from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class IPM(Forge):
    """Sends the honest mean turned round.

    Args:
        epsilon: how far. A small one (0.1) slips past Krum; a plain mean turns round above n_honest / n_malicious.
    """

    epsilon: float = 2.0

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise UserError(f"epsilon: must be above 0, got {self.epsilon!r}")

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns the same row for every colluder [m, d]; nothing is random here."""
        return repeated(-self.epsilon * mean_of(collusion.benign), collusion.own)
