"""Mimic: all colluders repeat one honest client, so that it counts for too much.

Source: Karimireddy, He and Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", ICLR 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.attacks.forges._moments import repeated
from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Mimic(Forge):
    """Sends the update of one honest client.

    Args:
        which: its place among the honest clients of the round, from 0; counted on from the first where there
            are fewer.
    """

    which: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.which, bool) or not self.which >= 0:
            raise UserError(f"which: must be a place among the honest clients from 0, got {self.which!r}")

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns copies of one row [m, d]."""
        return repeated(collusion.benign[self.which % len(collusion.benign)], collusion.own)
