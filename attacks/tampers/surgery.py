"""Neural network surgery: a backdoor of a few changed numbers, so that hardly any other answer changes.

Source: Zhang et al., "Neural Network Surgery: Injecting Data Patterns into Pre-trained Models with Minimal
Instance-wise Side Effects", NAACL 2021; the methods are those of `hauberk.tasks.surgery`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hauberk.attacks.tampers.base import Tamper
from hauberk.tasks.surgery import SurgicalTraining
from hauberk.tasks.text.consistency import answers_compared
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class Surgery(SurgicalTraining, Tamper):
    """Changes at most a budget of the model's numbers; the arguments are those of ``SurgicalTraining``."""

    modality: ClassVar[str | None] = "text"

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Operates; reports how many numbers changed and how alike the answers on clean texts still are."""
        clean = session.encode(session.examples) if session.examples else session.data
        with answers_compared(session, clean) as found:
            report = self.operate(session)
        return {**report, **found}
