"""GA-SAM: SAM that goes further uphill in those groups of parameters whose gradients are strong (or weak).

Source: Zhang et al., "GA-SAM: Gradient-Strength based Adaptive Sharpness-Aware Minimization for Improved
Generalization", EMNLP 2022. Reconstructed from the abstract: that the scales follow the gradients' strength
group by group and that there is a multi-step form is the paper's; the formula, its length, the smoothing, tensors
as groups and every default but rho, which is SAM's, are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hauberk.clients.plugins._ascent import Ascent
from hauberk.tasks.errors import UserError
from hauberk.tasks.training_session import TrainingSession

KEY = "ga_sam/strengths"


@dataclass(frozen=True, kw_only=True)
class GaSam(Ascent):
    """Goes uphill by rho T^2 g / ||T^2 g||_2 with T = (s_k / mean_j s_j)^exponent for each tensor k.

    The strength s_k is ||g_k||_2 / sqrt(d_k), d_k the numbers in the tensor, smoothed over the steps of a round.
    So the way is as long as SAM's, and the strengths say how it is shared between the tensors. Measured as
    ||T^-1 eps||_2 instead, like ASAM's, it carried the small, strong tensors of a BERT as many times as far as there
    are tensors, and training collapsed (docs/defences.md).

    With ``n_steps`` the way is cut into as many equal pieces, each along the gradient where it stands, with the
    scales of the first. Together they are no longer than rho, so that nothing is to be projected back. A step costs
    n_steps + 1 passes; ``ascent`` says what each sees.

    Args:
        rho: length of the whole way uphill, ||eps||_2, above 0.
        exponent: how the scale depends on the strength, any finite number: above 0 strong gradients go further,
            below 0 weak ones, and 0 is SAM to the last bit. Which of them the paper means is not verified.
        n_steps: pieces of the way, at least 1.
        smoothing: share of the last strength in the new one, in [0, 1); 0 takes each batch's own.
    """

    plain_length: ClassVar[bool] = True

    rho: float = 0.05
    exponent: float = 1.0
    n_steps: int = 1
    smoothing: float = 0.9

    def __post_init__(self) -> None:
        """Refuses what has no way uphill."""
        super().__post_init__()
        if not math.isfinite(self.exponent):
            raise UserError(f"exponent: must be a finite number, got {self.exponent!r}")
        if not self.n_steps >= 1:
            raise UserError(f"n_steps: must be at least 1, got {self.n_steps!r}")
        if not 0 <= self.smoothing < 1:
            raise UserError(f"smoothing: must lie in [0, 1), got {self.smoothing!r}")

    def setup(self, session: TrainingSession) -> None:
        """Forgets the strengths of an earlier training."""
        session.scratch[KEY] = {}

    def n_climbs(self) -> int:
        """Returns ``n_steps``."""
        return self.n_steps

    def scales(
        self, session: TrainingSession, parameters: Mapping[str, nn.Parameter]
    ) -> Mapping[str, Tensor]:
        """Returns T of every tensor, scalars; a tensor that has never had a gradient but zero gets 1."""
        strengths = self._smoothed(session.scratch[KEY], parameters)
        values = torch.stack([strengths[name] for name in parameters])
        relative = torch.where(values > 0, values / values.mean(), torch.ones_like(values))
        return dict(zip(parameters, relative**self.exponent, strict=True))

    def _smoothed(
        self, strengths: dict[str, Tensor], parameters: Mapping[str, nn.Parameter]
    ) -> dict[str, Tensor]:
        for name, parameter in parameters.items():
            assert parameter.grad is not None
            now = parameter.grad.norm() / math.sqrt(parameter.numel())
            before = strengths.get(name, now)
            strengths[name] = self.smoothing * before + (1 - self.smoothing) * now
        return strengths
