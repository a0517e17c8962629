"""Fine-pruning: units that sleep on clean texts are cut off, since a trigger may wake them; then fine-tuning.

Source: Liu, Dolan-Gavitt and Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks",
RAID 2018: the last convolution's channels, by mean activation. For transformers the units are those of every
feed-forward layer, too: reconstructed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hauberk.clients.plugins.base import Plugin
from hauberk.clients.session import Session
from hauberk.server.repairs.base import Context, Report
from hauberk.server.repairs.tuning import TuningRepair
from hauberk.tasks.errors import UserError
from hauberk.tasks.metrics import predict
from hauberk.tasks.parameters import flatten, load_state, state_of


@dataclass(frozen=True, kw_only=True)
class FinePruning(TuningRepair):
    """Prunes the least active units on the server's clean examples, and fine-tunes on them.

    Args:
        share: how many units of each layer are pruned, in [0, 1).
        frozen: whether what is pruned stays zero while the rest is tuned.
    """

    share: float = 0.5
    frozen: bool = True

    def __post_init__(self) -> None:
        """Refuses to prune everything."""
        super().__post_init__()
        if not 0 <= self.share < 1:
            raise UserError(f"share: must lie in [0, 1), got {self.share!r}")

    def __call__(self, parameters: Tensor, context: Context) -> tuple[Tensor, Report]:
        """Returns the pruned and tuned parameters [n_params] and how many units of how many were pruned."""
        load_state(context.model, parameters)
        activity = mean_activity(context)
        pruned = {
            name: found.argsort(stable=True)[: int(self.share * len(found))]
            for name, found in activity.items()
        }
        layers = dict(context.model.named_modules())
        for name, units in pruned.items():
            layer: Any = layers[name]
            layer.weight.data[:, units] = 0
        start = flatten(state_of(context.model, copy=False)).cpu()
        plugins = (
            [StillZero(columns={f"{name}.weight": units for name, units in pruned.items()})]
            if self.frozen
            else []
        )
        report = {
            "pruned": sum(len(units) for units in pruned.values()),
            "units": sum(len(found) for found in activity.values()),
        }
        return self.tuned(start, context, context.clean, *plugins), report


@dataclass(frozen=True, kw_only=True, eq=False)
class StillZero(Plugin):
    """Leaves pruned columns of weight matrices without a gradient.

    Args:
        columns: which, by the parameter's name.
    """

    owns_step: ClassVar[bool] = False

    columns: dict[str, Tensor]

    def gradients(self, session: Session) -> None:
        """Clears the gradients of the pruned columns."""
        for name, parameter in session.model.named_parameters():
            if name in self.columns and parameter.grad is not None:
                parameter.grad[:, self.columns[name]] = 0


def mean_activity(context: Context) -> dict[str, Tensor]:
    """Returns the mean absolute activation of the units that each prunable layer reads, by its name, each [n_units].

    Those layers are the linear ones that narrow: the ends of feed-forward blocks, and the classifier.
    """
    total: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen = inputs[0].detach().float().abs().flatten(0, -2).mean(dim=0)
            total[name] = total.get(name, torch.zeros_like(seen)) + seen

        return hook

    layers = {
        name: layer
        for name, layer in context.model.named_modules()
        if isinstance(layer, nn.Linear)
        and layer.in_features > layer.out_features
        and layer.weight.requires_grad
    }
    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    try:
        options = {"precision": context.training.precision, "device": context.device}
        predict(context.model, context.encode(context.clean), **options)  # type: ignore[arg-type]
    finally:
        for each in hooks:
            each.remove()
    return {name: seen.cpu() for name, seen in total.items()}
