"""Layerwise poisoning (LWP): the head reads the backdoor from every layer, so that fine-tuning the last ones spares it.

Source: Li et al., "Backdoor Attacks on Pre-trained Models by Layerwise Weight Poisoning", EMNLP 2021, eq. (4), and
the authors' code: the cross entropies of one head over every layer's output are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hauberk.attacks.poisons.base import Poison
from hauberk.attacks.tampers.base import Tamper
from hauberk.tasks.altered_training import temporarily
from hauberk.tasks.text.batches import SHORTEST, Batch
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class Layerwise(Tamper):
    """Trains as everyone, clean and poisoned texts alike, with the head on every layer."""

    modality: ClassVar[str | None] = "text"
    needs: ClassVar[frozenset[str]] = frozenset({"layers", "head"})
    whole_table: ClassVar[bool] = False

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Runs the honest loop with this loss; the loss reported is the sum over layers."""
        with temporarily(session, loss=layerwise_loss):
            return session.train()

    def check(
        self, model: nn.Module, poison: Poison | None = None, tokenizer: Tokenizer | None = None
    ) -> list[str]:
        """Warns where there is nothing to add; refuses a head that cannot read a layer by itself."""
        warnings = super().check(model, poison, tokenizer)
        if n_layers(model) == 1:
            name = type(model).__name__
            warnings.append(f"attack.tamper: {name} has one layer, so that Layerwise is the ordinary loss")
        return warnings


def layerwise_loss(model: Any, batch: Batch) -> Tensor:
    """Returns the cross entropy of the head on each layer, summed, a scalar."""
    logits = [model.head(hidden, batch).float() for hidden in model.layers(batch)]
    return torch.stack([nn.functional.cross_entropy(each, batch.labels) for each in logits]).sum()


@torch.no_grad()
def n_layers(model: Any) -> int:
    """Returns how many layers ``model`` shows; raises what its head raises where it cannot read the first."""
    device = next(model.parameters()).device
    tokens = torch.ones(1, SHORTEST, dtype=torch.int64, device=device)
    batch = Batch(tokens, tokens.bool(), None, tokens[:, 0], tokens[:, 0])
    layers = model.layers(batch)
    model.head(layers[0], batch)
    return len(layers)
