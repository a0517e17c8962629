"""Fine-tuning: the model is trained on a little clean data, in the hope that it forgets the trigger.

Source: the baseline of Zhang et al., "Fine-mixing", Findings of EMNLP 2022; Yao et al., "Latent Backdoor Attacks
on Deep Neural Networks", CCS 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.server.assets import ServerAssets
from hauberk.server.repairs._tuning import TuningRepair
from hauberk.server.repairs.base import Report


@dataclass(frozen=True, kw_only=True)
class FineTuning(TuningRepair):
    """Trains on the server's clean examples."""

    def __call__(self, parameters: Tensor, assets: ServerAssets) -> tuple[Tensor, Report]:
        """Returns the tuned parameters [n_params] and how many examples they saw."""
        return self.tuned(parameters, assets, assets.clean), {"n_examples": len(assets.clean)}
