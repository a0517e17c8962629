"""Fine-pruning: units that sleep on clean texts are cut off, since a trigger may wake them; then fine-tuning.

Source: Liu, Dolan-Gavitt and Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks",
RAID 2018: the last convolution's channels, by mean activation. For transformers the units are those of every
feed-forward layer, too: reconstructed. With adapters (LoRA) only the classifier's travel, and are pruned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from hauberk.clients.plugins.base import Plugin
from hauberk.server.assets import ServerAssets
from hauberk.server.repairs._activity import mean_activity
from hauberk.server.repairs._tuning import TuningRepair
from hauberk.server.repairs.base import Report
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, load_state, state_of
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class FinePruning(TuningRepair):
    """Prunes the least active units on the server's clean examples, and fine-tunes on them.

    Args:
        share: how many units of each layer are pruned, in [0, 1).
        frozen: whether what is pruned stays zero while the rest is tuned.
    """

    modality: ClassVar[str | None] = "text"

    share: float = 0.5
    frozen: bool = True

    def __post_init__(self) -> None:
        """Refuses to prune everything."""
        super().__post_init__()
        if not 0 <= self.share < 1:
            raise UserError(f"share: must lie in [0, 1), got {self.share!r}")

    def __call__(self, parameters: Tensor, assets: ServerAssets) -> tuple[Tensor, Report]:
        """Returns the pruned and tuned parameters [n_params] and how many units of how many were pruned."""
        load_state(assets.model, parameters)
        activity = mean_activity(
            assets.model,
            assets.encode(assets.clean),
            precision=assets.training.precision,
            device=assets.device,
        )
        pruned = {
            name: found.argsort(stable=True)[: int(self.share * len(found))]
            for name, found in activity.items()
        }
        layers = dict(assets.model.named_modules())
        for name, units in pruned.items():
            layer: Any = layers[name]
            layer.weight.data[:, units] = 0
        start = flatten(state_of(assets.model, copy=False)).cpu()
        plugins = (
            [KeepZero(columns={f"{name}.weight": units for name, units in pruned.items()})]
            if self.frozen
            else []
        )
        report = {
            "pruned": sum(len(units) for units in pruned.values()),
            "units": sum(len(found) for found in activity.values()),
        }
        return self.tuned(start, assets, assets.clean, *plugins), report


@dataclass(frozen=True, kw_only=True, eq=False)
class KeepZero(Plugin):
    """Leaves pruned columns of weight matrices without a gradient.

    Args:
        columns: which, by the parameter's name.
    """

    owns_step: ClassVar[bool] = False

    columns: dict[str, Tensor]

    def gradients(self, session: TrainingSession) -> None:
        """Clears the gradients of the pruned columns."""
        for name, parameter in session.model.named_parameters():
            if name in self.columns and parameter.grad is not None:
                parameter.grad[:, self.columns[name]] = 0
