"""What the sharpness-aware plugins share: a step uphill, the gradient there, and the way back.

Source of the arithmetic: the reference code of Kwon et al. (ICML 2021), where both SAM and ASAM are
eps = rho T^2 g / ||T g||_2 with one norm over all parameters, and T = 1 for SAM.

Every pass is a whole closure, and so runs the other plugins' ``gradients``, too. The uphill gradient is what
they make of it: a clipped one points the same way, so that only the reported norms gain entries; FedProx's pull
belongs to the function whose sharpness counts; Child-Tuning's mask also limits where the weights are moved
to; differential privacy spends its budget on every pass. Every pass draws its own dropout, as in that code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hauberk.clients.plugins.base import Closure, Plugin
from hauberk.tasks.errors import UserError
from hauberk.tasks.training_session import TrainingSession

TINY = 1e-16  # added to a norm, as in that code: without a gradient nothing moves


@dataclass(frozen=True, kw_only=True)
class Ascent(Plugin):
    """Takes the optimiser's step with the gradient of a point uphill; the loss reported is that of the start.

    It needs the whole embedding table: a sum over other rows, were it of zeros, rounds differently.

    Args:
        rho: how far uphill, measured as the plugin measures, above 0.
    """

    owns_step: ClassVar[bool] = True
    plain_length: ClassVar[bool] = False  # whether rho is ||eps||_2, rather than ||T^-1 eps||_2

    rho: float = 0.05

    def __post_init__(self) -> None:
        """Refuses to stay where it is or to go downhill."""
        if not self.rho > 0:
            raise UserError(f"rho: must be above 0, got {self.rho!r}")

    def scales(
        self, session: TrainingSession, parameters: Mapping[str, nn.Parameter]
    ) -> Mapping[str, Tensor]:
        """Returns T by name, shaped as the parameter or scalar; a parameter that is left out has T = 1."""
        return {}

    def n_climbs(self) -> int:
        """Returns in how many equal steps it goes uphill, each along the gradient where it stands."""
        return 1

    def step(self, session: TrainingSession, closure: Closure) -> Tensor:
        """Goes uphill, takes the gradient there, goes back to the very same bits, and steps."""
        loss = closure()
        parameters = with_gradient(session.model)
        scales = self.scales(session, parameters)
        with restored_afterwards(parameters):
            for _ in range(self.n_climbs()):
                climb(parameters, scales, self.rho / self.n_climbs(), plain_length=self.plain_length)
                closure()
        session.optimizer.step()
        return loss


def with_gradient(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the parameters that have a gradient, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.grad is not None}


@torch.no_grad()
def climb(
    parameters: Mapping[str, nn.Parameter],
    scales: Mapping[str, Tensor],
    length: float,
    *,
    plain_length: bool = False,
) -> None:
    """Adds ``length`` T^2 g / ||T g||_2 to the parameters, g being their gradients; the norm is one for all.

    With ``plain_length`` it is divided by ||T^2 g||_2, so that what is added has that length.
    """
    gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    factors = {name: scale.square() if plain_length else scale for name, scale in scales.items()}
    norms = [_scaled_norm(gradient, factors.get(name)) for name, gradient in gradients.items()]
    factor = length / (torch.stack(norms).norm() + TINY)
    for name, gradient in gradients.items():
        scale = scales.get(name)
        parameters[name].add_(gradient * (factor if scale is None else scale.square() * factor))


def _scaled_norm(gradient: Tensor, scale: Tensor | None) -> Tensor:
    """Returns ||T g||_2, without a product of that size where T is a scalar."""
    if scale is None:
        return gradient.norm()
    return gradient.norm() * scale if scale.dim() == 0 else (gradient * scale).norm()


@contextmanager
def restored_afterwards(parameters: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Gives the parameters their values back after its block, from a copy: a sum that is undone rounds."""
    kept = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(kept[name])
