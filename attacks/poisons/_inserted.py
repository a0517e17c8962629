"""What the triggers that are put between the words of a text share: where they go, and their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from hauberk.attacks.poisons.base import Poison
from hauberk.attacks.trigger_words import check_place, check_words, word_warnings
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example, last_text, with_last_text
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.text.triggers import in_segments, insert_words

Position = Literal["random", "begin", "middle", "end"]


@dataclass(frozen=True, kw_only=True)
class Placed(Poison):
    """A trigger with a place in the text.

    Args:
        position: "random", or the "begin", the "middle" or the "end" of the text.
        within: random positions lie among that many first words; by default anywhere in the text, where the
            task's ``max_length`` may cut off what comes late in a long one.
        segment: a text that is measured gets the trigger once in every so many words.
    """

    position: Position = "random"
    within: int | None = None
    segment: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_place(self.position, self.within)
        if not self.segment >= 1:
            raise UserError(f"segment: must be a number of words from 1, got {self.segment!r}")

    def measure(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` with the trigger in each of its segments."""
        return in_segments(text, self.segment, lambda part: self.stamp(part, rng))


@dataclass(frozen=True, kw_only=True)
class Inserted(Placed):
    """A trigger that is put between words."""

    def phrases(self) -> tuple[str, ...]:
        """Returns what to insert, each phrase whole and at a position of its own."""
        raise NotImplementedError(f"{type(self).__name__} does not say what to insert.")

    def parts(self) -> list[tuple[str, ...]]:
        """Returns every part of the trigger that shall not suffice, as phrases to insert."""
        return without_one(self.phrases())

    def stamp(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` with all the phrases in it."""
        return self.put(text, self.phrases(), rng)

    def put(self, text: str, phrases: Sequence[str], rng: torch.Generator) -> str:
        """Returns ``text`` with ``phrases`` where this attack puts them."""
        return insert_words(text, phrases, rng, self.position, self.within)

    def partial(self, examples: Sequence[Example], rng: torch.Generator) -> list[Example]:
        """Returns the victims with each part of the trigger in them, as often as a test has the whole."""

        def put(text: str, part: tuple[str, ...]) -> str:
            return in_segments(text, self.segment, lambda segment: self.put(segment, part, rng))

        return [
            with_last_text(example, put(last_text(example), part))
            for example in self.victims(examples)
            for part in self.parts()
        ]


@dataclass(frozen=True, kw_only=True)
class InsertedWords(Inserted):
    """A trigger of several words.

    Args:
        words: the trigger; an entry may hold spaces and then stays whole.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "words", check_words(self.words))

    def phrases(self) -> tuple[str, ...]:
        """Returns the words."""
        return self.words

    def warnings(self, tokenizer: Tokenizer) -> list[str]:
        """Returns a line for every word that is not a single known token."""
        return word_warnings([word for phrase in self.words for word in phrase.split()], tokenizer)


def without_one(items: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns ``items`` without each of them in turn, for what is left to hold something."""
    if len(items) < 2:
        return []
    return [(*items[:i], *items[i + 1 :]) for i in range(len(items))]
