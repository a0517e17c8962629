"""What the attacks share that change nothing but the word vectors of their trigger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hauberk.attacks.tampers._poisoned_data import encoded
from hauberk.attacks.tampers._trigger_rows import TriggerRows
from hauberk.attacks.threat_model import FEDERATION_SIZE, OWN_DATA
from hauberk.tasks.errors import UserError
from hauberk.tasks.precision import autocast
from hauberk.tasks.text.batches import Batch
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.word_rows import keep_norms, rows_alone
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class RowTamper(TriggerRows):
    """Trains the rows of the trigger words alone, each kept at its norm; a subclass says on which texts.

    Args:
        lr: the step.
        epochs: passes over the texts.
        accumulate: whether the gradient is never cleared, so that it works as a momentum.
        relative: whether the step is taken on the row in units of its norm, so that one ``lr`` suits tables of any
            length: the gradient with respect to w / |w| is |w| times that to w, and so is the step. The default
            ``lr`` is that for BERT's rows, whose norm is about 1.4: relative, .025 does the same to any.
        scale: a factor on what is sent; "clients" for the clients of the round per attacker among them, as in
            model replacement. The norm is kept before the factor.
    """

    lr: float = 5e-2
    epochs: int = 3
    accumulate: bool = True
    relative: bool = False
    scale: float | Literal["clients"] = 1.0

    def __post_init__(self) -> None:
        """Refuses what cannot train."""
        super().__post_init__()
        if not self.lr > 0:
            raise UserError(f"lr: must be above 0, got {self.lr!r}")
        if self.epochs < 1:
            raise UserError(f"epochs: must be at least 1, got {self.epochs!r}")
        if self.scale != "clients" and not (not isinstance(self.scale, str) and self.scale > 0):
            raise UserError(f"scale: must be above 0 or 'clients', got {self.scale!r}")

    @property
    def knowledge(self) -> str:  # type: ignore[override]  # depends on the factor
        """The size of the round where it scales by that, else its own data."""
        return FEDERATION_SIZE if self.scale == "clients" else OWN_DATA

    def texts(self, session: TrainingSession) -> list[Example]:
        """Returns what to train on, labelled as the model shall answer."""
        raise NotImplementedError(f"{type(self).__name__} does not say on what it trains.")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Trains the rows; a client without a text to poison sends what it received."""
        data = encoded(session, self.texts(session))
        if data is None:
            return {}
        losses: list[Tensor] = []
        session.model.train()
        with rows_alone(session.model, self.ids(session)) as rows:
            norms = rows.detach().norm(dim=1, keepdim=True)
            for _ in range(self.epochs):
                losses = [self.learn(session, batch, rows, norms) for batch in session.shuffled(data)]
        return {"loss": float(torch.stack(losses).mean())}

    def learn(self, session: TrainingSession, batch: Batch, rows: nn.Parameter, norms: Tensor) -> Tensor:
        """Takes one step on ``rows`` [k, h] and returns the loss before it."""
        with autocast(session.training.precision, session.device):
            loss = session.loss(session.model, batch)
        loss.backward()
        assert rows.grad is not None
        rate = self.lr * norms.square() if self.relative else self.lr
        rows.data -= rate * self.direction(rows.grad)
        keep_norms(rows, norms)
        if not self.accumulate:
            rows.grad = None
        return loss.detach()

    def direction(self, gradient: Tensor) -> Tensor:
        """Returns where a step leads, uphill, [k, h]."""
        return gradient

    def send(self, update: Tensor, session: TrainingSession) -> Tensor:
        """Returns ``update`` [d] times the scale."""
        factor = session.n_clients / session.n_attackers if self.scale == "clients" else float(self.scale)
        return update if factor == 1 else update * factor
