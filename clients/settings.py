"""How a client trains, as settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from hauberk.clients.optimizers import Adam, Optimizer
from hauberk.clients.plugins.base import Plugin, check_plugins
from hauberk.tasks.errors import UserError
from hauberk.tasks.precision import PRECISIONS


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a client trains.

    Args:
        epochs: passes over the client's data in a round.
        batch_size: texts a step.
        optimizer: made anew in every round.
        precision: "float32", or "bfloat16" for autocast.
        plugins: hooks, run in this order; at most one owns the step.
    """

    epochs: int = 1
    batch_size: int = 32
    optimizer: Optimizer = field(default_factory=lambda: Adam(lr=1e-3))
    precision: str = "float32"
    plugins: tuple[Plugin, ...] = ()

    def __post_init__(self) -> None:
        """Refuses what cannot train."""
        object.__setattr__(self, "plugins", tuple(self.plugins))
        for key in ("epochs", "batch_size"):
            if not getattr(self, key) >= 1:
                raise UserError(f"training.{key}: must be at least 1, got {getattr(self, key)!r}")
        if self.precision not in PRECISIONS:
            choices = ", ".join(PRECISIONS)
            raise UserError(f"training.precision: must be one of {choices}, got {self.precision!r}")
        check_plugins(self.plugins)
