"""What the server has beside the updates, for repairs and whoever looks at a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.clients.settings import Training
from hauberk.strategies.layout import Layout
from hauberk.tasks.base import Task

Work = Callable[..., Any]  # of (assets, parameters, *piece), a function that can be pickled


def in_turn(
    work: Work, assets: ServerAssets, parameters: Tensor, pieces: Sequence[tuple[Any, ...]]
) -> list[Any]:
    """Returns what ``work(assets, parameters, *piece)`` comes to for each piece, one after another.

    Whoever spreads them over workers returns the same: a piece needs nothing of the others, its random choices
    included, and of the assets only the task, a model, the layout, the clients' training and the device.
    """
    return [work(assets, parameters, *piece) for piece in pieces]


Spread = Callable[[Work, "ServerAssets", Tensor, Sequence[tuple[Any, ...]]], list[Any]]


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
        spread: has pieces of work done that need nothing of each other, as `in_turn` does.
    """

    task: Task
    model: nn.Module
    layout: Layout
    reference: Tensor
    clean: Sequence[Any]
    training: Training
    rng: torch.Generator
    device: str = "cpu"
    spread: Spread = in_turn

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
