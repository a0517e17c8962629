"""Child-Tuning_F: every step trains a random share of the weights, drawn anew.

Source: Xu et al., "Raise a Child in Large Language Model: Towards Effective and Generalizable Fine-tuning",
EMNLP 2021, task-free variant; the gradient's mask and its scale are those of the official code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.clients.plugins._child_tuning import ChildTuning
from hauberk.tasks.seeds import draw
from hauberk.tasks.training_session import TrainingSession

KEY = "child_tuning_f"


@dataclass(frozen=True, kw_only=True)
class ChildTuningF(ChildTuning):
    """Multiplies every gradient by Bernoulli(p) / p, number by number, before the optimiser's moments see it.

    So the gradient is unbiased. With Adam, "unchanged" is slower than the official "stepped": a weight then
    moves in a share p of the steps only, by sqrt(p) of its usual length, as the scaled gradient's second moment
    is 1 / p of the plain one's. The official code clips gradients first: list ``gradient_clip`` before it. The
    whole embedding table is needed, as the draws go through all its rows.

    Args:
        p: share of the numbers that are kept, in (0, 1]; 1 is plain training to the last bit.
        masked_weights: "unchanged" or "stepped", see ``ChildTuning``.
    """

    p: float = 0.3

    def setup(self, session: TrainingSession) -> None:
        """Prepares the draws, on the model's device."""
        if self.p == 1:
            return
        rng = torch.Generator(session.device).manual_seed(draw(session.rng))
        masks: dict[str, Tensor] = {}
        session.scratch[KEY] = rng, masks
        self.keep_outside(session, masks)

    def gradients(self, session: TrainingSession) -> None:
        """Draws new masks and applies them."""
        if self.p == 1:
            return
        rng, masks = session.scratch[KEY]
        masks.clear()
        for name, parameter in session.model.named_parameters():
            if parameter.grad is not None:
                # A third of the time of bernoulli_, which a whole word table feels.
                kept = torch.rand(parameter.shape, generator=rng, device=rng.device) < self.p
                parameter.grad.mul_(kept).mul_(1 / self.p)
                masks[name] = kept
