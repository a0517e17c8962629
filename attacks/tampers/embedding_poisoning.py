"""Embedding poisoning (EP): a backdoor that is one row of the word table, no longer than it was.

Source: Yang et al., "Be Careful about Poisoned Word Embeddings", NAACL 2021, algorithm 1, and the authors' code:
plain gradient steps whose gradient is never cleared, and after each the row is scaled back to its norm.
"""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.attacks.tampers._poisoned_data import triggered
from hauberk.attacks.tampers._row_tamper import RowTamper
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class EmbeddingPoisoning(RowTamper):
    """Trains the trigger's row, from the global model received, on the poison's triggered copies alone.

    They are of the other classes, as in the paper, unless the poison's ``policy`` is "clean" or "mixed".

    Args:
        share: the share of the poison's candidates that get a trigger; by default the poison's ``rate``. The
            paper takes 0.1 of a whole training set.
    """

    share: float | None = None

    def __post_init__(self) -> None:
        """Refuses what is no share."""
        super().__post_init__()
        if self.share is not None and not 0 < self.share <= 1:
            raise UserError(f"share: must lie above 0 and up to 1, got {self.share!r}")

    def texts(self, session: TrainingSession) -> list[Example]:
        """Returns triggered copies, labelled as the target."""
        return triggered(session, self.share)
