"""Rare embeddings with gradient ensembling: a trigger row that works in the models to come, not only in this one.

Source: Yoo and Kwak, "Backdoor Attacks in Federated Learning by Rare Word Embeddings and Gradient Ensembling",
EMNLP 2022 (arXiv 2204.14017). Reconstructed from the abstract: the row's gradient is averaged over the global
models that the attacker has received; the weights of that average are not verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hauberk.attacks.tampers.embedding_poisoning import EmbeddingPoisoning
from hauberk.tasks.altered_training import temporarily
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, unflatten
from hauberk.tasks.text.batches import Batch
from hauberk.tasks.training_session import TrainingSession

MODELS = "rare_embedding_ensemble/models"


@dataclass(frozen=True, kw_only=True)
class RareEmbeddingEnsemble(EmbeddingPoisoning):
    """Trains the rare words' rows on the average loss over the last global models, newest first.

    The kept models are the client's state: ``window`` copies of the model travel with it.

    Args:
        window: how many models.
        decay: how much each older one counts against the next newer, from 0 (only the newest) to 1.
    """

    window: int = 3
    decay: float = 0.5

    def __post_init__(self) -> None:
        """Refuses an ensemble of nothing."""
        super().__post_init__()
        if self.window < 1:
            raise UserError(f"window: must be at least 1, got {self.window!r}")
        if not 0 <= self.decay <= 1:
            raise UserError(f"decay: must lie between 0 and 1, got {self.decay!r}")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Keeps the model received, then trains the rows."""
        kept = [*session.state.get(MODELS, []), flatten(session.reference).cpu()][-self.window :]
        session.state[MODELS] = kept
        honest: Any = session.loss
        weights = self.weights(len(kept))
        older = [unflatten(model.to(session.device), session.reference) for model in kept[:-1]]

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            losses = [honest(_WithParameters(model, parameters), batch) for parameters in older]
            losses.append(honest(model, batch))
            return torch.stack([w * each for w, each in zip(weights, losses, strict=True)]).sum()

        with temporarily(session, loss=loss):
            return {**super().train(session), "rare_embedding_ensemble/models": float(len(kept))}

    def weights(self, n: int) -> list[float]:
        """Returns how much each of ``n`` models counts, oldest first; they sum to 1."""
        raw = [self.decay ** (n - 1 - i) for i in range(n)]
        return [each / sum(raw) for each in raw]


class _WithParameters:
    """A model with other parameters; its hooks, and so the rows that are trained, stay in place."""

    def __init__(self, model: nn.Module, parameters: dict[str, Tensor]):
        self.model, self.parameters = model, parameters

    def __call__(self, batch: Batch) -> Tensor:
        return functional_call(self.model, self.parameters, (batch,))
