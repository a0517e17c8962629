"""The contract of a detector: fitted on clean texts, it scores how likely a text carries a trigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from hauberk.server.model_view import View
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example

State = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Detector:
    """Looks at texts that reach a finished model, and protects one class.

    Args:
        protected: the class that an attacker would evoke, by its number; by default the target of the run's attack.

    Attributes:
        modality: what data a task must have for it; None for any.
        needs: attributes that the model must have, such as "layers" or "embedding".
        calibrates_on: the validation samples whose scores set the thresholds: "all" for a score that means the same
            for every class, "protected" for one that means something only where that class is predicted.
    """

    modality: ClassVar[str | None] = "text"
    needs: ClassVar[frozenset[str]] = frozenset()
    calibrates_on: ClassVar[Literal["all", "protected"]] = "all"

    protected: int | None = None

    def __post_init__(self) -> None:
        """Refuses what no class is called."""
        if self.protected is not None and (isinstance(self.protected, bool) or self.protected < 0):
            raise UserError(f"protected: must be a class number from 0, got {self.protected!r}")

    def fit(
        self,
        view: View,
        estimate: Sequence[Example],
        validation: Sequence[Example],
        protected: int,
        rng: torch.Generator,
    ) -> State:
        """Returns what ``score`` needs; the model is bit by bit as it was afterwards.

        Args:
            view: the model.
            estimate: clean labelled examples to fit on.
            validation: others to normalise on, from which the thresholds are taken, too.
            protected: the class that an attacker would evoke.
            rng: every random choice comes from here.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to fit.")

    def score(self, view: View, state: State, examples: Sequence[Example]) -> Tensor:
        """Returns a number for each of ``examples``, float64 [n]; larger is more suspicious.

        A function of the text alone: labels are not read, and neither the order nor the neighbours matter, so that
        whoever sends a text twice is answered twice the same. A detector that needs chance draws a seed in ``fit``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to score.")

    def check(self, view: View, estimate: Sequence[Example], protected: int) -> None:
        """Raises UserError where it cannot be fitted; runs before the first round, so nothing may be trained yet."""
        if lacking := sorted(name for name in self.needs if not hasattr(view.model, name)):
            raise UserError(
                f"detectors: {type(self).__name__} needs a model with {' and '.join(lacking)}, "
                f"{type(view.model).__name__} has none"
            )
        if protected >= (n := len(view.labels)):
            raise UserError(
                f"detectors: protected: class {protected} does not exist, the data have {n} classes, "
                f"0 to {n - 1} ({', '.join(view.labels)})"
            )

    def notes(self, state: State) -> list[str]:
        """Returns what a reader of the figures must know of this detector, fitted to ``state``."""
        return []
