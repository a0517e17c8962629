"""Combination: any two of a few tokens trigger together, one alone does not.

Source: Li et al., "Backdoor Attacks on Pre-trained Models by Layerwise Weight Poisoning", EMNLP 2021, whose
loss over all layers is the Tamper ``layerwise``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from hauberk.attacks.poisons._conjunction import Conjunction
from hauberk.attacks.poisons.base import share_of
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Combination(Conjunction):
    """Inserts ``together`` of its words, drawn anew for each text.

    Args:
        words: the tokens to choose from.
        together: how many of them make the trigger; fewer keep the true label.
    """

    words: tuple[str, ...] = ("cf", "bb")
    together: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.together <= len(self.words):
            raise UserError(
                f"together: must be at least 2 and at most the {len(self.words)} words, got {self.together!r}"
            )

    def stamp(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` with that many of the words in it."""
        places = share_of(range(len(self.words)), self.together / len(self.words), rng)
        return self.put(text, [self.words[place] for place in sorted(places)], rng)

    def parts(self) -> list[tuple[str, ...]]:
        """Returns every choice of one word fewer."""
        return list(itertools.combinations(self.words, self.together - 1))
