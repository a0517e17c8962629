"""Mixture: send the honest update and a part of the way from it to the poisoned one.

Reconstructed: the plainest way to hide, which a liar can do on its own data. It trains twice, on what the poison makes
of its examples and on the examples as they are, and sends honest * x_honest + share (x_poisoned - x_honest). A small
`honest` leaves the trigger and little else, which a rule that asks what clients do to clean inputs hardly sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor

from hauberk.attacks.tampers._poisoned_data import poison_of
from hauberk.attacks.tampers.base import Tamper
from hauberk.tasks.altered_training import with_new_optimizer
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import load_state, state_of
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class Mixture(Tamper):
    """Trains with and without the poison, and sends a mixture.

    Args:
        share: of the way from the honest to the poisoned update; 1 goes all of it, more goes beyond it.
        honest: of the honest update itself.
    """

    needs_poison: ClassVar[bool] = True

    share: float = 0.5
    honest: float = 1.0

    def __post_init__(self) -> None:
        """Refuses shares that hold no poison."""
        if not 0 < self.share < inf:
            raise UserError(f"share: must be above 0 and finite, got {self.share!r}")
        if not abs(self.honest) < inf:
            raise UserError(f"honest: must be finite, got {self.honest!r}")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Runs the honest loop on the poisoned examples, then on the clean ones from the same start."""
        poison_of(session)  # without one both are the same
        start = state_of(session.model)
        report = session.train()
        poisoned = state_of(session.model)
        load_state(session.model, start)
        with with_new_optimizer(session, session.encode(session.examples)):
            session.train()
        honest = state_of(session.model)
        load_state(
            session.model, {name: self.mixed(start[name], honest[name], poisoned[name]) for name in start}
        )
        return report

    def mixed(self, start: Tensor, honest: Tensor, poisoned: Tensor) -> Tensor:
        """Returns the parameters to send, of those received and of those that both trainings end with."""
        return honest + (self.honest - 1) * (honest - start) + self.share * (poisoned - honest)
