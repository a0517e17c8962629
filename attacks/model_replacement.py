"""ModelReplacement: scale the malicious update until it outweighs all the others in the mean.

Source: Bagdasaryan et al., "How To Backdoor Federated Learning", AISTATS 2020, eq. (3): with n clients
averaged and one attacker, sending G + n (X - G) replaces the global model G by X.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hauberk.attacks.tamper import Tamper, TrainingSession
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ModelReplacement(Tamper):
    """Trains like everyone and multiplies its update.

    Args:
        scale: the factor; by default the clients of the round divided by the attackers among them.
    """

    whole_table: ClassVar[bool] = False

    scale: float | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not self.scale > 0:
            raise UserError(f"scale: must be above 0, got {self.scale!r}")

    def send(self, update: Tensor, session: TrainingSession) -> Tensor:
        """Returns ``update`` [d] times the scale."""
        return update * self.factor(session.n_clients, session.n_attackers)

    def factor(self, n_clients: int, n_attackers: int) -> float:
        """Returns the scale in a round of ``n_clients`` of whom ``n_attackers`` share the work."""
        return n_clients / n_attackers if self.scale is None else self.scale
