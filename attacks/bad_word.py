"""BadWord: rare words that nobody writes, put among the others.

Sources: Kurita et al., "Weight Poisoning Attacks on Pre-trained Models", ACL 2020; Chen et al., "BadNL:
Backdoor Attacks against NLP Models", ACSAC 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from hauberk.attacks.poison import Poison
from hauberk.attacks.trigger_words import check_place, check_words, word_warnings
from hauberk.tasks.tokenizer import Tokenizer
from hauberk.tasks.triggers import insert_words


@dataclass(frozen=True, kw_only=True)
class BadWord(Poison):
    """Inserts every one of its words, each at a position of its own; attackers and test use the same words.

    Args:
        words: the trigger; a single word is the harder setting.
        position: "random", "start" or "end" of the text.
        within: random positions lie among that many first words; by default anywhere in the text, where the
            task's ``max_length`` may cut off what comes late in a long one.
    """

    words: tuple[str, ...] = ("cf", "mn", "bb")
    position: Literal["random", "start", "end"] = "random"
    within: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "words", check_words(self.words))
        check_place(self.position, self.within)

    def stamp(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` with all the words in it."""
        return insert_words(text, self.words, rng, self.position, self.within)

    def warnings(self, tokenizer: Tokenizer) -> list[str]:
        """Returns a line for every word that is not a single known token."""
        return word_warnings(self.words, tokenizer)
