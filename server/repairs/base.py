"""The contract of a repair: what the server does to the aggregated model, after some rounds or after the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from hauberk.server.assets import ServerAssets
from hauberk.tasks.errors import UserError

Report = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Repair:
    """Changes the global parameters.

    Args:
        when: "end", after the last round, which is the default where ``every`` is left out.
        every: a number of rounds: after each k-th one instead.
    """

    modality: ClassVar[str | None] = None  # what data a task must have for it; None for any
    needs_clean: ClassVar[bool] = False  # whether it can do nothing without the server's own examples
    in_pieces: ClassVar[bool] = False  # whether workers can share its work

    when: Literal["end"] | None = None
    every: int | None = None

    def __post_init__(self) -> None:
        """Refuses impossible times; writes "end" down where no other is given."""
        if self.when not in ("end", None):
            raise UserError(f"when: must be 'end' (or give every = k), got {self.when!r}")
        if self.every is None:
            object.__setattr__(self, "when", "end")
        elif self.when is not None:
            raise UserError(
                f"every: takes the place of when, got every = {self.every!r} and when = {self.when!r}"
            )
        elif self.every < 1:
            raise UserError(f"every: must be at least 1 round, got {self.every!r}")

    def check(self, assets: ServerAssets) -> None:
        """Raises UserError where it could not repair; runs before the first round, on the server."""

    def acts(self, round: int) -> bool:
        """Returns whether it runs after ``round``, counted from 1; one for the end does so after no round."""
        return self.every is not None and round % self.every == 0

    def __call__(self, parameters: Tensor, assets: ServerAssets) -> tuple[Tensor, Report]:
        """Returns the repaired parameters, a new vector [n_params], and what is worth recording."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to repair.")
