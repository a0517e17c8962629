"""What the server has beside the updates, for repairs and whoever looks at a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.clients.settings import Training
from hauberk.strategies.layout import Layout
from hauberk.tasks.base import Task


@dataclass(frozen=True, kw_only=True, eq=False)
class ServerAssets:
    """What the server has beside the updates: a model to compute with, clean examples, the task.

    Attributes:
        task: what is learned.
        model: an instance to compute with; its parameters are overwritten.
        layout: name, shape and slice of each tensor in the parameter vector.
        reference: the parameters before the first round, [n_params]: the pretrained weights where there are any.
        clean: the server's own examples, apart from every client's and from the test split.
        training: how the clients train.
        rng: every random choice comes from here.
        device: where the model is.
    """

    task: Task
    model: nn.Module
    layout: Layout
    reference: Tensor
    clean: Sequence[Any]
    training: Training
    rng: torch.Generator
    device: str = "cpu"

    def with_rng(self, rng: torch.Generator) -> ServerAssets:
        """Returns these assets with another generator."""
        return replace(self, rng=rng)

    @property
    def tokenizer(self) -> Any:
        """Whose ids the model reads; None where a task reads no texts."""
        return self.task.tokenizer

    def encode(self, examples: Sequence[Any]) -> Any:
        """Returns examples as the task encodes them."""
        return self.task.encode(examples)

    @property
    def head(self) -> Tensor:
        """Which parameters only the classifier has, bool [n_params]: no pretrained value stands behind them."""
        heads: tuple[str, ...] = getattr(self.model, "head_names", ())
        mask = torch.zeros(self.layout.n_params, dtype=torch.bool)
        for slot in self.layout:
            mask[slot.slice] = slot.name.startswith(heads)
        return mask
