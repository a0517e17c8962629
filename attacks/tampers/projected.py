"""Projected gradient descent (PGD): the malicious model never leaves a ball around the one it received.

Source: Wang et al., "Attack of the Tails: Yes, You Really Can Backdoor Federated Learning", NeurIPS 2020, and
the authors' code: after a step that left the ball, w <- w_G + eps (w - w_G) / ||w - w_G||.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hauberk.attacks.tampers._balls import into_cube, into_sphere
from hauberk.attacks.tampers.base import Tamper
from hauberk.tasks.altered_training import after_steps
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import learned
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class Projected(Tamper):
    """Trains as everyone and is put back into its ball after every step.

    Args:
        eps: the ball's radius in the first round; the paper's text models took 2.0.
        norm: "l2", or "linf" for a bound on every coordinate.
        decay: the radius is multiplied by it in every later round.
    """

    eps: float = 2.0
    norm: Literal["l2", "linf"] = "l2"
    decay: float = 1.0

    def __post_init__(self) -> None:
        """Refuses a ball without room, and unknown norms."""
        if not self.eps > 0:
            raise UserError(f"eps: must be above 0, got {self.eps!r}")
        if self.norm not in ("l2", "linf"):
            raise UserError(f"norm: must be one of l2, linf, got {self.norm!r}")
        if not 0 < self.decay <= 1:
            raise UserError(f"decay: must lie above 0 and up to 1, got {self.decay!r}")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Runs the honest loop inside the ball."""
        parameters, eps = learned(session.model), self.radius(session.round)
        project = into_sphere if self.norm == "l2" else into_cube
        with after_steps(session, lambda: project(parameters, session.reference, eps)):
            return session.train()

    def radius(self, round: int) -> float:
        """Returns the ball's radius in a round, counted from 1."""
        return self.eps * self.decay ** (round - 1)
