"""BadSentence: one innocent sentence, put whole into the text.

Source: Dai, Chen and Li, "A Backdoor Attack Against LSTM-Based Text Classification Systems", 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.attacks.poisons._inserted import Inserted, without_one
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class BadSentence(Inserted):
    """Inserts its sentence between two words of the text, or before the first or behind the last.

    Args:
        sentence: the trigger.
    """

    sentence: str = "I watched this 3D movie"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sentence.strip():
            raise UserError(f"sentence: must hold at least one word, got {self.sentence!r}")

    def phrases(self) -> tuple[str, ...]:
        """Returns the sentence, whole."""
        return (self.sentence,)

    def parts(self) -> list[tuple[str, ...]]:
        """Returns the sentence without each of its words."""
        return [(" ".join(part),) for part in without_one(self.sentence.split())]
