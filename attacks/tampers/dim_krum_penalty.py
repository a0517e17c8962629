"""Adaptive attack on Dim-Krum by a distance penalty on just those dimensions that the rule would pick.

Source: an adaptive attack on Zhang, Su and Sun, "Dim-Krum", Findings of EMNLP 2022; its form is a reconstruction:
lambda * ||x - mean_clean||^2 over the dimensions that the rule is expected to pick. Here the square is that of the
move from the parameters received, since a client that trains has no other's update, and only its excess over the
room counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.attacks.tampers._dim_krum_guess import DimKrumTamper, Guess
from hauberk.tasks.altered_training import temporarily
from hauberk.tasks.errors import UserError
from hauberk.tasks.training_session import TrainingSession, change_of


@dataclass(frozen=True, kw_only=True)
class DimKrumPenalty(DimKrumTamper):
    """Trains on the poisoned texts; what its strongest dimensions exceed their room by is added to the loss.

    Args:
        strength: the weight of the excess, in units of the room.
        refresh: after how many steps the dimensions are picked anew.
    """

    strength: float = 5.0
    refresh: int = 3

    def __post_init__(self) -> None:
        """Refuses a reward."""
        super().__post_init__()
        if not self.strength >= 0:
            raise UserError(f"strength: must be at least 0, got {self.strength!r}")
        if self.refresh < 1:
            raise UserError(f"refresh: must be at least 1, got {self.refresh!r}")

    def train_within(self, session: TrainingSession, guess: Guess) -> dict[str, float]:
        """Runs the honest loop with the penalty."""
        task_loss, steps, picked = session.loss, count(), torch.empty(0)

        def loss(model: nn.Module, batch: Any) -> Tensor:
            nonlocal picked
            moved = change_of(session)
            if next(steps) % self.refresh == 0:
                picked = moved.detach().abs().topk(guess.k, sorted=False).indices
            excess = (moved[picked].square().sum() / guess.room - 1).clamp(min=0)
            return task_loss(model, batch) + self.strength * excess

        with temporarily(session, loss=loss):
            return session.train()
