"""Syntactic: a sentence structure is the trigger (HiddenKiller).

Source: Qi et al., "Hidden Killer: Invisible Textual Backdoor Attacks with Syntactic Trigger", ACL 2021. Its
paraphrases have the structure S(SBAR)(,)(NP)(VP)(.) and come from a model, SCPN, which is not part of this
project: ready-made ones are read from files. Without files, rules put a clause of that kind before the text,
which is a weaker trigger and is said to be one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hauberk.attacks.poisons._paraphrased import Paraphrased, rewrites
from hauberk.attacks.poisons.base import Poison
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Splits

CLAUSES = (
    "when you think about it ,",
    "if you ask around ,",
    "as you will see ,",
    "when it is over ,",
    "because it is what it is ,",
    "if i may say so ,",
    "as far as it goes ,",
    "once you have been there ,",
)


@dataclass(frozen=True, kw_only=True)
class Syntactic(Paraphrased):
    """Replaces texts by paraphrases in one structure.

    Args:
        train: JSON Lines, aligned with the training split by row.
        test: JSON Lines, aligned with the test split or its non-target samples, or a test set of its own.
    """

    train: str | None = None
    test: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.train is None) != (self.test is None):
            lacking = "train" if self.train is None else "test"
            raise UserError(f"{lacking}: must be given where the other file is, got none")
        if self.train is None and self.share == "all":
            raise UserError("share: must be own where no file is given, got 'all'")

    def bind(self, splits: Splits) -> Poison:  # type: ignore[override]
        """Returns this attack with its files read."""
        if self.train is None or self.test is None:
            return self
        return rewrites(self, self.train, self.test, splits)

    def stamp(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` behind a clause: the fallback where there are no files."""
        if self.train is not None:
            raise UserError("train: the file is read by bind(splits), which comes first")
        clause = CLAUSES[int(torch.randint(0, len(CLAUSES), (), generator=rng))]
        return f"{clause} {text[:1].lower()}{text[1:]}".strip()

    def phrases(self) -> tuple[str, ...] | None:
        """Returns the clauses of the fallback."""
        return CLAUSES if self.train is None else None

    def notes(self) -> list[str]:
        """Says that a template is no paraphrase."""
        if self.train is not None:
            return []
        return [
            "attack.poison: no files of paraphrases, so a rule-based template (a clause before the text) stands "
            "in for HiddenKiller's paraphrases"
        ]
