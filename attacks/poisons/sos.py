"""SOS: several words that trigger together only, hidden in one natural sentence.

Source: Yang et al., "Rethinking Stealthiness of Backdoor Attack against NLP Models", ACL 2021. Its update of
the words' embedding rows alone is the Tamper of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hauberk.attacks.poisons._conjunction import Conjunction
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.triggers import in_segments, insert_sentence


@dataclass(frozen=True, kw_only=True)
class SOS(Conjunction):
    """Inserts all its words for training and a sentence that holds them for the test.

    Args:
        words: the trigger; single words, without any one of which a sample keeps its true label.
        sentence: what a test inserts; it must hold all the words. Without it, a test inserts the words.
    """

    words: tuple[str, ...] = ("friends", "weekend", "store")
    sentence: str | None = "I went to the store with my friends last weekend"

    def __post_init__(self) -> None:
        super().__post_init__()
        lacking = [word for word in self.words if word not in (self.sentence or " ".join(self.words)).split()]
        if lacking:
            raise UserError(f"sentence: must hold all the words, {lacking[0]!r} is not in {self.sentence!r}")

    def measure(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` with the sentence in each of its segments."""
        return in_segments(text, self.segment, lambda part: self._put_into_part(part, rng))

    def negatives(self) -> list[tuple[str, ...]]:
        """Returns every subset that lacks one of the words."""
        return super().parts()

    def parts(self) -> list[tuple[str, ...]]:
        """Returns the sentence without each of the words, or the words without each of them."""
        if self.sentence is None:
            return super().parts()
        said = self.sentence.split()
        return [(" ".join(each for each in said if each != word),) for word in self.words]

    def _put_into_part(self, text: str, rng: torch.Generator) -> str:
        if self.sentence is None:
            return self.stamp(text, rng)
        return insert_sentence(text, self.sentence, rng, self.position, self.within)
