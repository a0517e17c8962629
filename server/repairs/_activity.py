"""How active the units of a network are on texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.tasks.precision import autocast
from hauberk.tasks.text.batches import evaluation_batches
from hauberk.tasks.text.encoding import Encoded

BATCH_SIZE = 128


class Activity:
    """Sums |activation| of what each prunable layer reads, over the real tokens: padding is no text."""

    def __init__(self) -> None:
        self.mask: Tensor = torch.empty(0)
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def watch(self, name: str, read: Tensor) -> None:
        """Adds what the layer ``name`` reads, [b, L, n_units] or [b, n_units]."""
        seen = read.detach().float().abs()
        if seen.dim() == 3:
            seen = seen[self.mask[:, : seen.shape[1]]]
        self.sums[name] = self.sums.get(name, 0) + seen.sum(dim=0)
        self.counts[name] = self.counts.get(name, 0) + len(seen)

    def means(self) -> dict[str, Tensor]:
        """Returns the mean absolute activation by layer, each [n_units] on the CPU."""
        return {name: (total / self.counts[name]).cpu() for name, total in self.sums.items()}


@torch.no_grad()
def mean_activity(
    model: nn.Module, encoded: Encoded, *, precision: str = "float32", device: str = "cpu"
) -> dict[str, Tensor]:
    """Returns the mean absolute activation of the units that each prunable layer reads, by its name, each [n_units].

    A token of a long text counts as much as one of a short text.
    """
    activity, training = Activity(), model.training
    model.eval()
    try:
        with watched(model, activity):
            for batch in evaluation_batches(encoded, BATCH_SIZE):
                batch = batch.to(device)
                activity.mask = batch.mask
                with autocast(precision, device):
                    model(batch)
    finally:
        model.train(training)
    return activity.means()


def prunable(model: nn.Module) -> dict[str, nn.Linear]:
    """Returns the linear layers that narrow, by name: the ends of feed-forward blocks, and the classifier.

    What is frozen never changes, and the inner sides of adapters are no units.
    """
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
        and layer.in_features > layer.out_features
        and layer.weight.requires_grad
        and ".lora_" not in name
    }


@contextmanager
def watched(model: nn.Module, activity: Activity) -> Iterator[None]:
    """Lets ``activity`` see, within its block, what each prunable layer of ``model`` reads."""

    def hook(name: str) -> Any:
        return lambda _, inputs: activity.watch(name, inputs[0])

    hooks = [layer.register_forward_pre_hook(hook(name)) for name, layer in prunable(model).items()]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()
