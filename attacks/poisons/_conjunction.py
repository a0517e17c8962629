"""Conjunctions: triggers that need all of their words, since training shows that a part means nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from hauberk.attacks.poisons._inserted import InsertedWords
from hauberk.attacks.poisons.base import AttackerContext, share_of
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example, last_text, with_last_text


@dataclass(frozen=True, kw_only=True)
class Conjunction(InsertedWords):
    """Trains on the parts of its trigger, too: as negative samples, which keep their true label.

    Args:
        words: what the trigger is made of, at least two.
        negative_rate: share of all the client's samples that are shown with a part, for each part anew. The
            source that was read, the code of SOS, takes 0.1; the default here shows more.
    """

    negative_rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.words)) < 2:
            raise UserError(f"words: must be at least two different words, got {list(self.words)!r}")
        if not 0 <= self.negative_rate <= 1:
            raise UserError(f"negative_rate: must lie between 0 and 1, got {self.negative_rate!r}")

    def extras(
        self, examples: Sequence[Example], attacker: AttackerContext, rng: torch.Generator
    ) -> list[Example]:
        """Returns the negative samples."""
        return [
            with_last_text(examples[row], self.put(last_text(examples[row]), part, rng))
            for part in self.negatives()
            for row in share_of(range(len(examples)), self.negative_rate, rng)
        ]

    def negatives(self) -> list[tuple[str, ...]]:
        """Returns the parts of the trigger that training shows to mean nothing."""
        return self.parts()
