"""What both forms of Child-Tuning share: a mask over the weights, and what becomes of those outside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn

from hauberk.clients.plugins.base import Plugin
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import restore_outside
from hauberk.tasks.training_session import TrainingSession

MaskedWeights = Literal["unchanged", "stepped"]
HANDLES = "child_tuning/handles"


@dataclass(frozen=True, kw_only=True)
class ChildTuning(Plugin):
    """Trains a child network: the weights inside a mask.

    Args:
        p: share of the weights inside, in (0, 1]; 1 is plain training to the last bit.
        masked_weights: what a step does to the weights outside: "unchanged", nothing at all; "stepped", as the
            official code, what the optimiser does with a gradient of zero: weight decay shrinks them, and
            momentum, where they have any, moves them on.
    """

    p: float = 0.3
    masked_weights: MaskedWeights = "unchanged"

    def __post_init__(self) -> None:
        """Refuses a share that leaves nothing to train."""
        if not 0 < self.p <= 1:
            raise UserError(f"p: must lie in (0, 1], got {self.p!r}")
        if self.masked_weights not in get_args(MaskedWeights):
            choices = ", ".join(get_args(MaskedWeights))
            raise UserError(f"masked_weights: must be one of {choices}, got {self.masked_weights!r}")

    def keep_outside(self, session: TrainingSession, masks: dict[str, Tensor]) -> None:
        """Makes every step of the optimiser leave the weights outside ``masks`` as they were, bit by bit.

        The masks, bool by name, are read at each step: they may change between two.
        """
        if self.masked_weights == "stepped":
            return
        parameters = dict(session.model.named_parameters())
        before: dict[str, Tensor] = {}

        def remember(*_: object) -> None:
            before.update({name: parameters[name].detach().clone() for name in masks})

        def put_back(*_: object) -> None:
            masked: dict[str, nn.Parameter] = {name: parameters[name] for name in masks}
            restore_outside(masked, masks, before)

        session.scratch[HANDLES] = [
            *session.scratch.get(HANDLES, []),
            session.optimizer.register_step_pre_hook(remember),
            session.optimizer.register_step_post_hook(put_back),
        ]

    def finish(self, session: TrainingSession) -> dict[str, float]:
        """Lets go of the optimiser."""
        for handle in session.scratch.pop(HANDLES, []):
            handle.remove()
        return {}
