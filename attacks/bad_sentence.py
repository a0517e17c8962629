"""BadSentence: one innocent sentence, put whole into the text.

Source: Dai, Chen and Li, "A Backdoor Attack Against LSTM-Based Text Classification Systems", 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from hauberk.attacks.poison import Poison
from hauberk.attacks.trigger_words import check_place
from hauberk.tasks.errors import UserError
from hauberk.tasks.triggers import insert_sentence


@dataclass(frozen=True, kw_only=True)
class BadSentence(Poison):
    """Inserts its sentence between two words of the text, or before the first or behind the last.

    Args:
        sentence: the trigger.
        position: "random", "start" or "end" of the text.
        within: a random position lies among that many first words; by default anywhere in the text, where the
            task's ``max_length`` may cut off what comes late in a long one.
    """

    sentence: str = "I watched this 3D movie"
    position: Literal["random", "start", "end"] = "random"
    within: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sentence.strip():
            raise UserError(f"sentence: must hold at least one word, got {self.sentence!r}")
        check_place(self.position, self.within)

    def stamp(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` with the sentence in it."""
        return insert_sentence(text, self.sentence, rng, self.position, self.within)
