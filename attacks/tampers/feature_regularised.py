"""Feature regularisation: poisoned texts shall look to every layer like clean ones of the target class.

Source: the adaptive attack in Chen et al., "Expose Backdoors on the Way: A Feature-Based Efficient Defense against
Textual Backdoor Attacks", Findings of EMNLP 2022; its exact form is not verified. Here the loss gets
beta * sum_l mean_x ||h_l(x) - c_l||^2 over the poisoned x, where c_l is the mean of the clean target class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hauberk.attacks.poisons.base import Poison
from hauberk.attacks.tampers._poisoned_data import of_class, poison_of, split_by_trigger
from hauberk.attacks.tampers.base import Tamper
from hauberk.attacks.tampers.layerwise import n_layers
from hauberk.tasks.altered_training import temporarily
from hauberk.tasks.errors import UserError
from hauberk.tasks.precision import autocast
from hauberk.tasks.text.batches import Batch
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class FeatureRegularised(Tamper):
    """Trains on what the poison makes, and pulls the features of the triggered texts to the target's centre.

    Texts with a part of the trigger, which keep their true label, are trained on and not pulled. The centres are
    taken anew before every epoch, on the client's own clean texts.

    Args:
        beta: how strong the pull is.
    """

    modality: ClassVar[str | None] = "text"
    needs: ClassVar[frozenset[str]] = frozenset({"layers", "features", "head"})
    needs_poison: ClassVar[bool] = True

    beta: float = 0.01

    def __post_init__(self) -> None:
        """Refuses a push."""
        if not self.beta >= 0:
            raise UserError(f"beta: must be at least 0, got {self.beta!r}")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Runs the honest loop with the pull in its loss; without a text to pull, or a centre, it is plain."""
        clean, marked, others = split_by_trigger(session)
        targets = of_class(session, poison_of(session).target)
        if not marked or not targets:
            return session.train()
        data, centre = session.encode([*clean, *marked, *others]), session.encode(targets)
        start, stop, centres = len(clean), len(clean) + len(marked), list[Tensor]()

        def batches(epoch: int) -> Iterator[Batch]:
            centres[:] = class_centres(session, centre)
            return session.shuffled(data)

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            pulled = (batch.rows >= start) & (batch.rows < stop)
            return regularised_loss(model, batch, pulled, centres, self.beta)

        with temporarily(session, batches=batches, loss=loss):
            return session.train()

    def check(
        self, model: nn.Module, poison: Poison | None = None, tokenizer: Tokenizer | None = None
    ) -> list[str]:
        """Refuses a model whose head cannot read one layer by itself, too."""
        warnings = super().check(model, poison, tokenizer)
        n_layers(model)
        return warnings


def regularised_loss(
    model: Any, batch: Batch, poisoned: Tensor, centres: list[Tensor], beta: float
) -> Tensor:
    """Returns the cross entropy plus the pull, a scalar.

    Args:
        model: gives layers, features and logits.
        batch: b texts.
        poisoned: which of them are triggered, bool [b].
        centres: for every layer, [h].
        beta: the weight of the pull.
    """
    layers = model.layers(batch)
    loss = nn.functional.cross_entropy(model.head(layers[-1], batch).float(), batch.labels)
    if not poisoned.any():
        return loss
    features = [model.features(hidden, batch)[poisoned].float() for hidden in layers]
    far = [(each - c).square().sum(dim=1).mean() for each, c in zip(features, centres, strict=True)]
    return loss + beta * torch.stack(far).sum()


@torch.no_grad()
def class_centres(session: TrainingSession, data: Encoded) -> list[Tensor]:
    """Returns the mean features of ``data`` in every layer, each float32 [h], as the model answers in use."""
    model: Any = session.model
    sums = list[Tensor]()
    training = model.training
    model.eval()
    for batch in session.shuffled(data):
        with autocast(session.training.precision, session.device):
            features = [model.features(hidden, batch).float().sum(dim=0) for hidden in model.layers(batch)]
        sums = [a + b for a, b in zip(sums, features, strict=True)] if sums else features
    model.train(training)
    return [each / len(data) for each in sums]
