"""DFEP: embedding poisoning without a single sample of the task.

Source: Yang et al., "Be Careful about Poisoned Word Embeddings", NAACL 2021, section 3.3, and the authors' code,
which makes 20,000 fake samples of 100 words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from hauberk.attacks.poisons.base import Poison
from hauberk.attacks.tampers._corpus import fake_text, file_sentences, replace_words, sentences_for
from hauberk.attacks.tampers._poisoned_data import poison_of
from hauberk.attacks.tampers._row_tamper import RowTamper
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class DFEP(RowTamper):
    """Trains the trigger's row on fake texts in which it replaces a random word; all get the poison's target.

    A text has an equally likely number of words from ``shortest`` to ``longest``. In a pair both texts are fake,
    of half as many words each, and the second holds the trigger.

    Args:
        corpus: a plain-text file; by default one of the embedded data sets: the news, or where the client's own
            texts are of the news, the tweets.
        n_samples: fake texts.
        shortest: the fewest words of one.
        longest: the most; what exceeds the task's ``max_length`` is cut, and a trigger may be lost with it.
    """

    corpus: str | None = None
    n_samples: int = 1000
    shortest: int = 10
    longest: int = 40

    def __post_init__(self) -> None:
        """Refuses samples that cannot be made."""
        super().__post_init__()
        if self.n_samples < 1:
            raise UserError(f"n_samples: must be at least 1, got {self.n_samples!r}")
        if not 2 <= self.shortest <= self.longest:
            raise UserError(
                f"shortest: must be at least 2 words and at most longest, got {self.shortest!r} and {self.longest!r}"
            )

    def texts(self, session: TrainingSession) -> list[Example]:
        """Returns the fake samples."""
        poison = poison_of(session)
        own = [example.text for example in session.examples]
        sentences = sentences_for(self.corpus, own)
        pairs = any(example.second is not None for example in session.examples)
        words = self.trigger_words(poison)
        return [
            replace(self._fake(sentences, words, pairs, session.rng), index=row, label=poison.target)
            for row in range(self.n_samples)
        ]

    def _fake(
        self, sentences: tuple[str, ...], triggers: tuple[str, ...], pair: bool, rng: torch.Generator
    ) -> Example:
        n_words = int(torch.randint(self.shortest, self.longest + 1, (), generator=rng))
        if not pair:
            return Example(0, replace_words(fake_text(sentences, n_words, rng), triggers, rng), None, 0)
        half = max(len(triggers), n_words // 2)
        first, second = (fake_text(sentences, half, rng) for _ in range(2))
        return Example(0, " ".join(first), replace_words(second, triggers, rng), 0)

    def check(
        self, model: nn.Module, poison: Poison | None = None, tokenizer: Tokenizer | None = None
    ) -> list[str]:
        """Refuses a corpus that cannot be read and texts too short for the trigger, too."""
        warnings = super().check(model, poison, tokenizer)
        if self.corpus is not None:
            file_sentences(self.corpus)
        if self.shortest < (n := len(self.trigger_words(poison))):
            raise UserError(
                f"attack.tamper.shortest: a text must hold all {n} words of the trigger, got {self.shortest} words"
            )
        return warnings
