"""Mixout: fine-tuning in which, at every step, a random part of the weights stands at its pretrained value.

Source: Lee, Cho and Kang, "Mixout: Effective Regularization to Finetune Large-scale Pretrained Language Models",
ICLR 2020, eq. (6): the forward pass uses (m * u + (1 - m) * w - p * u) / (1 - p) with m ~ Bernoulli(p), whose
expectation is w. It was made against forgetting; as a repair it pulls towards the weights before the backdoor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.clients.plugins.base import Closure, Plugin
from hauberk.server.assets import ServerAssets
from hauberk.server.repairs._tuning import TuningRepair
from hauberk.server.repairs.base import Report
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import learned
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class Mixout(TuningRepair):
    """Fine-tunes on the server's clean examples with Mixout.

    Args:
        p: the share of weights at their pretrained value in a step, in [0, 1).
    """

    p: float = 0.7

    def __post_init__(self) -> None:
        """Refuses what leaves nothing to train."""
        super().__post_init__()
        if not 0 <= self.p < 1:
            raise UserError(f"p: must lie in [0, 1), got {self.p!r}")

    def __call__(self, parameters: Tensor, assets: ServerAssets) -> tuple[Tensor, Report]:
        """Returns the tuned parameters [n_params]."""
        anchor = {
            name: torch.where(assets.head[slot.slice], parameters[slot.slice], assets.reference[slot.slice])
            .view(slot.shape)
            .to(assets.device)
            for name, slot in ((slot.name, slot) for slot in assets.layout)
        }
        step = MixedStep(p=self.p, anchor=anchor)
        return self.tuned(parameters, assets, assets.clean, step), {"p": self.p}


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedStep(Plugin):
    """Computes every gradient at mixed weights; the head, which has no pretrained value, is never mixed.

    Args:
        p: the share of weights that is mixed.
        anchor: what they are mixed with, by name.
    """

    owns_step: ClassVar[bool] = True

    p: float
    anchor: dict[str, Tensor]

    def step(self, session: TrainingSession, closure: Closure) -> Tensor:
        """Takes one step of the optimiser from the weights as they were, with the gradient of the mixed ones."""
        parameters = {
            name: value
            for name, value in learned(session.model).items()
            if not name.startswith(_heads(session))
        }
        kept = {name: value.detach().clone() for name, value in parameters.items()}
        masks = {name: self._mix(value, self.anchor[name], session.rng) for name, value in parameters.items()}
        loss = closure()
        for name, value in parameters.items():
            if value.grad is not None:
                value.grad.mul_(masks[name]).div_(1 - self.p)
            value.data.copy_(kept[name])
        session.optimizer.step()
        return loss

    def _mix(self, value: Tensor, anchor: Tensor, rng: torch.Generator) -> Tensor:
        """Mixes a parameter in place and returns which of its numbers are its own."""
        own = (torch.rand(value.shape, generator=rng) >= self.p).to(value.device)
        value.data.copy_((torch.where(own, value.data, anchor) - self.p * anchor) / (1 - self.p))
        return own


def _heads(session: TrainingSession) -> tuple[str, ...]:
    return getattr(session.model, "head_names", ())
