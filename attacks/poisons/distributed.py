"""Distributed: every attacker trains on one part of the trigger, and the test puts in the whole.

Source: Xie et al., "DBA: Distributed Backdoor Attacks against Federated Learning", ICLR 2020, in text: the
words of a trigger take the place of the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hauberk.attacks.poisons._inserted import InsertedWords
from hauberk.attacks.poisons.base import AttackerContext
from hauberk.tasks.text.examples import Example, last_text, with_last_text


@dataclass(frozen=True, kw_only=True)
class Distributed(InsertedWords):
    """Deals its words to the attackers as cards are dealt; with more attackers than words some share one.

    Args:
        words: the whole trigger; an entry may be a phrase.
    """

    words: tuple[str, ...] = ("cf", "mn", "bb", "tq")

    def mark(
        self, example: Example, rng: torch.Generator, attacker: AttackerContext | None = None
    ) -> Example | None:
        """Returns ``example`` with the attacker's part in it, and in a test with the whole."""
        if attacker is None:
            return super().mark(example, rng)
        return with_last_text(example, self.put(last_text(example), self.part_of(attacker), rng))

    def part_of(self, attacker: AttackerContext) -> tuple[str, ...]:
        """Returns the words of one attacker."""
        n_parts = min(attacker.n_attackers, len(self.words))
        return self.words[attacker.index % n_parts :: n_parts]
