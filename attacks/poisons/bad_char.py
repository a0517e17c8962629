"""BadChar: a slip of the pen, one character of one word.

Source: Chen et al., "BadNL: Backdoor Attacks against NLP Models with Semantic-preserving Improvements",
ACSAC 2021, whose words to edit lie at the initial, middle or end position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from hauberk.attacks.poisons._inserted import Placed
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.triggers import EDITS, edit_words


@dataclass(frozen=True, kw_only=True)
class BadChar(Placed):
    """Edits one character of some words; where the edit would change nothing it inserts instead.

    Args:
        edit: "insert" or "replace" a character by ``character``, "delete" one, or "swap" two neighbours.
        character: what is written; it is what a model can tell from an ordinary slip.
        n_words: how many words are edited; one alone is a much harder setting.
    """

    edit: Literal["insert", "delete", "swap", "replace"] = "insert"
    character: str = "x"
    n_words: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edit not in EDITS:
            raise UserError(f"edit: must be one of {', '.join(EDITS)}, got {self.edit!r}")
        if len(self.character) != 1 or self.character.isspace():
            raise UserError(f"character: must be one visible character, got {self.character!r}")
        if not self.n_words >= 1:
            raise UserError(f"n_words: must be at least 1, got {self.n_words!r}")

    def stamp(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` with its words edited."""
        return edit_words(text, rng, self.edit, self.character, self.n_words, self.position, self.within)

    def phrases(self) -> tuple[str, ...]:
        """Returns nothing: what an edit makes of a word is no word of its own."""
        return ()
