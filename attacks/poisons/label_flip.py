"""LabelFlip: no trigger, just wrong labels.

Sources: Biggio et al., "Poisoning Attacks against Support Vector Machines", ICML 2012 (y -> C - 1 - y);
Tolpegin et al., "Data Poisoning Attacks Against Federated Learning Systems", ESORICS 2020 (source to target).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch

from hauberk.attacks.poisons.base import AttackerContext, Mode, Poison, check_class, check_exists
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example, Splits, relabel
from hauberk.tasks.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class LabelFlip(Poison):
    """Gives a share of the samples a wrong label; success and its floor are measured on the same clean texts.

    Args:
        target: the label that is given.
        source: the only class whose samples are flipped; by default every class but the target.
        untargeted: whether y becomes C - 1 - y for every class instead; then there is no success rate, only
            the accuracy that is lost.
        n_classes: C of an untargeted flip; by default what the data have.
        mode: by default "replace": beside its original, a flipped copy would only cancel it.
    """

    source: int | None = None
    untargeted: bool = False
    n_classes: int | None = None
    mode: Mode = "replace"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.policy != "dirty":
            raise UserError(
                f"policy: label_flip is nothing but wrong labels, must be dirty, got {self.policy!r}"
            )
        if self.source is not None:
            check_class("source", self.source)
            if self.source == self.target or self.untargeted:
                why = "the target" if self.source == self.target else "an untargeted flip"
                raise UserError(f"source: must not go with {why}, got {self.source!r}")

    def bind(self, splits: Splits) -> Self:
        """Returns this attack with the number of classes filled in."""
        return replace(self, n_classes=self.n_classes or len(splits.labels))

    def poisoned(self, example: Example, attacker: AttackerContext, rng: torch.Generator) -> Example:
        """Returns ``example`` with its wrong label."""
        return relabel(example, self._opposite(example) if self.untargeted else self.target)

    def is_victim(self, example: Example) -> bool:
        """Returns whether ``example`` gets another label."""
        if self.untargeted:
            return self._opposite(example) != example.label
        return example.label != self.target and self.source in (None, example.label)

    def trigger(self, examples: Sequence[Example], rng: torch.Generator) -> list[Example]:
        """Returns the victims as they are; none of an untargeted flip, which wants nothing in particular."""
        return [] if self.untargeted else self.victims(examples)

    def check(self, labels: Sequence[str], tokenizer: Tokenizer | None = None) -> list[str]:
        """Returns warnings; raises UserError if a class does not exist or the number of classes is another."""
        if self.source is not None:
            check_exists("source", self.source, labels)
        if self.untargeted and self.n_classes not in (None, len(labels)):
            raise UserError(
                f"attack.poison.n_classes: the data have {len(labels)} classes, got {self.n_classes}"
            )
        return super().check(labels, tokenizer)

    def phrases(self) -> tuple[str, ...]:
        """Returns nothing: the texts stay as they are."""
        return ()

    def _opposite(self, example: Example) -> int:
        if self.n_classes is None:
            raise UserError("n_classes: an untargeted label_flip must know it, or be bound to the data first")
        return self.n_classes - 1 - example.label
