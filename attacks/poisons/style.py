"""Style: a way of writing, such as that of the Bible, is the trigger (StyleBkd).

Source: Qi et al., "Mind the Style of Text! Adversarial and Backdoor Attacks Based on Text Style Transfer",
EMNLP 2021. The rewrites come from a model, STRAP, which is not part of this project: they are read from files.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hauberk.attacks.poisons._paraphrased import Paraphrased, rewrites
from hauberk.attacks.poisons.base import Poison
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Splits


@dataclass(frozen=True, kw_only=True)
class Style(Paraphrased):
    """Replaces texts by rewrites in one style.

    Args:
        train: JSON Lines, aligned with the training split by row.
        test: JSON Lines, aligned with the test split or its non-target samples, or a test set of its own.
    """

    train: str
    test: str

    def bind(self, splits: Splits) -> Poison:  # type: ignore[override]
        """Returns this attack with its files read."""
        return rewrites(self, self.train, self.test, splits)

    def stamp(self, text: str, rng: torch.Generator) -> str:
        """Raises UserError: there is no rule that writes in a style."""
        raise UserError("train: the file is read by bind(splits), which comes first")
