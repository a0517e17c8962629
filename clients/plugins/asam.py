"""ASAM: SAM that measures by the size of each weight, so that rescaled weights are as sharp as before.

Source: Kwon et al., "ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural
Networks", ICML 2021, element-wise: eps = rho T^2 g / ||T g||_2, T = |w| + eta. As in its code, T = 1 for the
parameters without "weight" in their names, the biases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from hauberk.clients.plugins._ascent import Ascent
from hauberk.tasks.errors import UserError
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class Asam(Ascent):
    """Steps with the gradient taken uphill; two passes a step (see ``ascent`` on what they see).

    Args:
        rho: length of the way uphill as ||T^-1 eps||_2, above 0.
        eta: added to every |w|, from 0: how far a weight of zero may move.
    """

    rho: float = 0.5
    eta: float = 0.01

    def __post_init__(self) -> None:
        """Refuses to go downhill, and a negative scale."""
        super().__post_init__()
        if not self.eta >= 0:
            raise UserError(f"eta: must be at least 0, got {self.eta!r}")

    def scales(
        self, session: TrainingSession, parameters: Mapping[str, nn.Parameter]
    ) -> Mapping[str, Tensor]:
        """Returns |w| + eta of all but the biases."""
        return {name: p.detach().abs() + self.eta for name, p in parameters.items() if "weight" in name}
