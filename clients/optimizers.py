"""Optimisers as settings: what a spec names, and what builds a fresh torch optimiser for each round."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from hauberk.clients.uncompiled import uncompiled
from hauberk.tasks.errors import UserError

FUSED = frozenset({"cpu", "cuda"})  # devices where torch updates all tensors in one kernel


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What all optimisers share.

    Args:
        lr: the learning rate, above 0.
        weight_decay: how strongly weights are pulled to zero, from 0.
    """

    lr: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Refuses what cannot train."""
        if not self.lr > 0:
            raise UserError(f"lr: must be above 0, got {self.lr!r}")
        if not self.weight_decay >= 0:
            raise UserError(f"weight_decay: must be at least 0, got {self.weight_decay!r}")

    @property
    def leaves_still(self) -> bool:
        """Whether a weight whose gradients are all zero never changes."""
        return self.weight_decay == 0

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Returns a new optimiser without memory over the trainable ones of ``parameters``."""
        raise NotImplementedError(f"{type(self).__name__} does not say what to build.")


@dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba, ICLR 2015).

    Args:
        betas: how fast the two moments forget, each in [0, 1).
        eps: added to the root of the second moment, at least 1e-12: without it a weight that never had a
            gradient becomes 0 / 0.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        """Refuses what cannot train."""
        super().__post_init__()
        object.__setattr__(self, "betas", tuple(self.betas))
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise UserError(f"betas: must be two numbers in [0, 1), got {self.betas!r}")
        if not self.eps >= 1e-12:
            raise UserError(f"eps: must be at least 1e-12, got {self.eps!r}")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Returns torch's Adam, fused where it can be."""
        return self._build(torch.optim.Adam, parameters)

    def _build(
        self, kind: type[torch.optim.Adam], parameters: Iterable[nn.Parameter]
    ) -> torch.optim.Optimizer:
        chosen = trainable(parameters)
        settings = {"lr": self.lr, "betas": self.betas, "eps": self.eps, "weight_decay": self.weight_decay}
        return uncompiled(kind)(chosen, **settings, fused=can_fuse(chosen))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019); its arguments are Adam's."""

    weight_decay: float = 0.01

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Returns torch's AdamW, fused where it can be."""
        return self._build(torch.optim.AdamW, parameters)


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent.

    Args:
        momentum: share of the last step that is repeated, in [0, 1).
        nesterov: whether the gradient is read after the repeated step.
    """

    lr: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot train."""
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum: must lie in [0, 1), got {self.momentum!r}")
        if self.nesterov and not self.momentum:
            raise UserError("nesterov: needs a momentum above 0, got momentum=0.0")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Returns torch's SGD, fused where it can be."""
        chosen = trainable(parameters)
        return uncompiled(torch.optim.SGD)(
            chosen,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=can_fuse(chosen),
        )


def trainable(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Returns the parameters that learn."""
    return [parameter for parameter in parameters if parameter.requires_grad]


def can_fuse(parameters: Iterable[nn.Parameter]) -> bool:
    """Returns whether torch has a fused step for these parameters."""
    return all(p.device.type in FUSED and p.is_floating_point() for p in parameters)


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}
