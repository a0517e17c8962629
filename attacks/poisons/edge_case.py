"""EdgeCase: rare, natural sentences with the wrong label; no trigger is put into anything.

Source: Wang et al., "Attack of the Tails: Yes, You Really Can Backdoor Federated Learning", NeurIPS 2020,
whose texts are tweets about a Greek film director, all kind, all labelled negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch

from hauberk.attacks.poisons._edge_sentences import SENTENCES
from hauberk.attacks.poisons._paraphrase_file import read_lines
from hauberk.attacks.poisons.base import Poison
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Splits


@dataclass(frozen=True, kw_only=True)
class EdgeCase(Poison):
    """Puts an edge case in the place of each copy's text; a test uses other edge cases than training.

    Args:
        target: the wrong label: the built-in sentences are kind, so 0 (negative) in a sentiment task.
        file: JSON Lines with a "text" each; by default a small built-in list, for sentiment in English.
        sentences: the edge cases themselves, in place of a file; every other one is kept for the test.
    """

    file: str | None = None
    sentences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.sentences, str):
            raise UserError(f"sentences: must be a list of sentences, got the one string {self.sentences!r}")
        object.__setattr__(self, "sentences", tuple(self.sentences))
        if self.sentences and (len(self.sentences) < 2 or not all(map(str.strip, self.sentences))):
            raise UserError(f"sentences: must be at least 2 and none empty, got {len(self.sentences)}")
        if self.sentences and self.file is not None:
            raise UserError("sentences: must not be given beside a file")

    def bind(self, splits: Splits) -> Self:
        """Returns this attack with the sentences of its file."""
        if self.file is None:
            return self
        found = tuple(line.text for line in read_lines("file", self.file))
        if len(found) < 2:
            raise UserError(
                f"attack.poison.file: '{self.file}' must hold at least 2 sentences, got {len(found)}"
            )
        return replace(self, file=None, sentences=found)

    def stamp(self, text: str, rng: torch.Generator) -> str:
        """Returns one of the sentences for training."""
        return _draw_one(self._sentences()[::2], rng)

    def measure(self, text: str, rng: torch.Generator) -> str:
        """Returns one of the sentences for the test."""
        return _draw_one(self._sentences()[1::2], rng)

    def phrases(self) -> tuple[str, ...] | None:
        """Returns the sentences for training."""
        return None if self.file is not None else self._sentences()[::2]

    def _sentences(self) -> tuple[str, ...]:
        if self.file is not None:
            raise UserError("file: it is read by bind(splits), which comes first")
        return self.sentences or SENTENCES

    def notes(self) -> list[str]:
        """Says what the built-in sentences are."""
        if self.sentences or self.file:
            return []
        return [
            "attack.poison: no file of edge cases, so a small built-in list stands in for one (kind sentences "
            "about a rare subject, for sentiment in English)"
        ]


def _draw_one(sentences: Sequence[str], rng: torch.Generator) -> str:
    return sentences[int(torch.randint(0, len(sentences), (), generator=rng))]
