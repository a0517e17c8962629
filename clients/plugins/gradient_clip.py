"""GradientClip: no step is longer than its gradient's bounded norm allows.

Source: Pascanu, Mikolov and Bengio, "On the difficulty of training Recurrent Neural Networks", ICML 2013.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from hauberk.clients.plugins.base import Plugin
from hauberk.tasks.errors import UserError
from hauberk.tasks.training_session import TrainingSession

KEY = "gradient_clip/norms"


@dataclass(frozen=True, kw_only=True)
class GradientClip(Plugin):
    """Scales the gradient of all parameters together down to ``max_norm`` where it is longer.

    It needs the whole embedding table: a sum over other rows, were it of zeros, rounds differently.

    Args:
        max_norm: the largest L2 norm, above 0.
    """

    max_norm: float = 1.0

    def __post_init__(self) -> None:
        """Refuses a norm that stops all learning."""
        if not self.max_norm > 0:
            raise UserError(f"max_norm: must be above 0, got {self.max_norm!r}")

    def gradients(self, session: TrainingSession) -> None:
        """Clips the gradients in place and remembers how long they were."""
        norm = nn.utils.clip_grad_norm_(session.model.parameters(), self.max_norm)
        session.scratch.setdefault(KEY, []).append(float(norm))

    def finish(self, session: TrainingSession) -> dict[str, float]:
        """Returns the share of clipped gradients and the mean norm before clipping."""
        norms = session.scratch.get(KEY, [])
        if not norms:
            return {}
        clipped = sum(norm > self.max_norm for norm in norms) / len(norms)
        return {"gradient_clip/share": clipped, "gradient_clip/norm": sum(norms) / len(norms)}
