"""FedProx: a pull towards the parameters that were received.

Source: Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, eq. (2): the gradient of
mu/2 ||w - w_received||^2 is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hauberk.clients.plugins.base import Plugin
from hauberk.tasks.errors import UserError
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class FedProx(Plugin):
    """Adds mu (w - w_received) to every gradient; the loss that is reported leaves the term out.

    Args:
        mu: how strong the pull is, from 0 (none).
    """

    whole_table: ClassVar[bool] = False  # an unused row has not moved, so that nothing pulls it

    mu: float = 0.01

    def __post_init__(self) -> None:
        """Refuses a push."""
        if not self.mu >= 0:
            raise UserError(f"mu: must be at least 0, got {self.mu!r}")

    def gradients(self, session: TrainingSession) -> None:
        """Adds the pull to every gradient that there is."""
        for name, parameter in session.model.named_parameters():
            if parameter.grad is not None:
                parameter.grad.add_(parameter.detach() - session.reference[name], alpha=self.mu)
