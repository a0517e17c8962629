"""ModelReplacement: scale the malicious update until it outweighs all the others in the mean.

Source: Bagdasaryan et al., "How To Backdoor Federated Learning", AISTATS 2020, eq. (3): with n clients averaged and
one attacker, sending G + n (X - G) replaces the global model G by X. Against a server that looks at updates:
train-and-scale sends G + S / ||X - G|| (X - G), and constrain-and-scale (eq. 4) trains alpha * L_class +
(1 - alpha) * L_distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.attacks.tampers._balls import distance
from hauberk.attacks.tampers.base import Tamper
from hauberk.attacks.threat_model import FEDERATION_SIZE, OWN_DATA
from hauberk.tasks.altered_training import temporarily
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import learned
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class ModelReplacement(Tamper):
    """Multiplies its update; trains like everyone unless it is to stay near.

    Args:
        scale: the factor; by default the clients of the round divided by the attackers among them, which it must know.
        norm_bound: train-and-scale: the L2 norm that the update gets in place of a fixed factor.
        alpha: constrain-and-scale: the weight of the task's loss; 1 leaves the distance out, and below it the
            rest goes to the L2 distance from the parameters received.
    """

    scale: float | None = None
    norm_bound: float | None = None
    alpha: float = 1.0

    def __post_init__(self) -> None:
        for key in ("scale", "norm_bound"):
            if (value := getattr(self, key)) is not None and not value > 0:
                raise UserError(f"{key}: must be above 0, got {value!r}")
        if self.scale is not None and self.norm_bound is not None:
            raise UserError(
                f"norm_bound: takes the place of a scale, got both {self.norm_bound!r} and {self.scale!r}"
            )
        if not 0 < self.alpha <= 1:
            raise UserError(f"alpha: must lie above 0 and up to 1, got {self.alpha!r}")

    @property
    def knowledge(self) -> str:  # type: ignore[override]  # depends on the factor
        """The size of the round where it scales by that, else its own data."""
        return FEDERATION_SIZE if self.scale is None and self.norm_bound is None else OWN_DATA

    @property
    def whole_table(self) -> bool:  # type: ignore[override]
        """Whether the word table must be whole while this trains: only the distance reads it."""
        return self.alpha < 1

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Runs the honest loop, with a distance in its loss where ``alpha`` asks for one."""
        if self.alpha == 1:
            return session.train()
        task_loss, parameters = session.loss, learned(session.model)

        def loss(model: nn.Module, batch: Any) -> Tensor:
            far = distance(parameters, session.reference)
            return self.alpha * task_loss(model, batch) + (1 - self.alpha) * far

        with temporarily(session, loss=loss):
            return session.train()

    def send(self, update: Tensor, session: TrainingSession) -> Tensor:
        """Returns ``update`` [d] times the scale."""
        if self.norm_bound is None:
            return update * self.factor(session.n_clients, session.n_attackers)
        length = float(torch.linalg.vector_norm(update))
        return update * (self.norm_bound / length) if length else update

    def factor(self, n_clients: int, n_attackers: int) -> float:
        """Returns the scale in a round of ``n_clients`` of whom ``n_attackers`` share the work."""
        return n_clients / n_attackers if self.scale is None else self.scale
