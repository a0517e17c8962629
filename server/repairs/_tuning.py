"""Fine-tuning on the server's clean examples, which several repairs share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

from torch import Tensor

from hauberk.clients.embedding_compaction import active_rows, compacted, is_exact
from hauberk.clients.plugins.base import Plugin
from hauberk.clients.session import Session
from hauberk.clients.settings import Training
from hauberk.server.assets import ServerAssets
from hauberk.server.repairs.base import Repair
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, load_state, state_of
from hauberk.tasks.seeds import seeded
from hauberk.tasks.text.consistency import true_class
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.metrics import predict


@dataclass(frozen=True, kw_only=True)
class TuningRepair(Repair):
    """What the repairs that fine-tune share.

    Args:
        epochs: passes over the clean examples; 0 leaves the tuning out.
        max_steps: no further pass begins after so many steps, so that a larger clean set costs no more.
        batch_size: texts a step.
        lr: the learning rate; by default ``gentle`` of the clients' own, whose optimiser it is: at their full rate
            a few texts are learned by heart (measured on a validation split).
    """

    needs_clean: ClassVar[bool] = True
    gentle: ClassVar[float] = 0.3

    epochs: int = 20
    max_steps: int = 120
    batch_size: int = 16
    lr: float | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot tune."""
        super().__post_init__()
        if self.epochs < 0:
            raise UserError(f"epochs: must be at least 0, got {self.epochs!r}")
        for key in ("max_steps", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"{key}: must be at least 1, got {getattr(self, key)!r}")
        if self.lr is not None and not self.lr > 0:
            raise UserError(f"lr: must be above 0, got {self.lr!r}")

    def n_epochs(self, n_examples: int) -> int:
        """Returns how many passes are made over so many examples, at least one."""
        return max(1, min(self.epochs, ceil(self.max_steps / ceil(n_examples / self.batch_size))))

    def training(self, assets: ServerAssets, n_examples: int, plugins: Iterable[Plugin] = ()) -> Training:
        """Returns how to tune: as the clients train, but for what this repair says."""
        optimizer = assets.training.optimizer
        optimizer = replace(optimizer, lr=self.gentle * optimizer.lr if self.lr is None else self.lr)
        return replace(
            assets.training,
            epochs=self.n_epochs(n_examples),
            batch_size=self.batch_size,
            optimizer=optimizer,
            plugins=tuple(plugins),
        )

    def session(self, assets: ServerAssets, data: Encoded, training: Training) -> Session:
        """Returns the session of one who tunes the server's model on ``data``."""
        return Session(
            task=assets.task,
            model=assets.model,
            data=data,
            training=training,
            rng=assets.rng,
            device=assets.device,
        )

    def tuned(
        self, parameters: Tensor, assets: ServerAssets, examples: Sequence[Example], *plugins: Plugin
    ) -> Tensor:
        """Returns the parameters [n_params] after tuning on ``examples``; the model is overwritten."""
        load_state(assets.model, parameters)
        if not self.epochs:
            return parameters.clone()
        data, training = assets.encode(examples), self.training(assets, len(examples), plugins)
        rows = active_rows(assets.model, assets.task.embedding_rows(data)) if is_exact(training) else None
        with compacted(assets.model, rows), seeded(assets.rng):
            self.session(assets, data, training).train()
        return flatten(state_of(assets.model, copy=False)).cpu()


def true_class_on(parameters: Tensor, assets: ServerAssets, examples: Sequence[Example]) -> Tensor:
    """Returns what probability a model [n_params] gives each example's class, float64 [n]; it becomes the assets's."""
    load_state(assets.model, parameters)
    encoded = assets.encode(examples)
    logits = predict(assets.model, encoded, precision=assets.training.precision, device=assets.device)
    return true_class(logits, encoded.labels)
