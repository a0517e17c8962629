"""How Pretrain-KGE's first phase, semantic-based fine-tuning, is done."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.tasks.errors import UserError, nearest

PHASES = ("server", "semantic", "tables")


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The first phase: a projection from texts to vectors learns from triples; the encoder itself stays as it is.

    Args:
        phases: "server": before the first round the server tunes on public triples (`task.public`) and extracts the
            tables, and the rounds train these; "semantic": the rounds are the first phase, and what clients exchange is
            the projection; "tables": the rounds train tables that were extracted from such a run, ``start``.
        start: the model.safetensors that `hauberk export` writes of a run of the phase "semantic".
        epochs: passes over the public triples, at the server.
        batch_size: triples a step, at the server.
        lr: Adam's learning rate, at the server.
    """

    phases: str = "server"
    start: str | None = None
    epochs: int = 5
    batch_size: int = 512
    lr: float = 1e-3

    def __post_init__(self) -> None:
        """Refuses what trains nothing."""
        if self.phases not in PHASES:
            raise UserError(f"phases: unknown {self.phases!r}; {nearest(self.phases, PHASES)}")
        if (self.phases == "tables") != (self.start is not None):
            raise UserError(
                f"start: goes with phases = 'tables' and with no other, got {self.start!r} and {self.phases!r}"
            )
        for key in ("epochs", "batch_size"):
            if not getattr(self, key) >= 1:
                raise UserError(f"{key}: must be at least 1, got {getattr(self, key)!r}")
        if not self.lr > 0:
            raise UserError(f"lr: must be above 0, got {self.lr!r}")
