"""ONION: a word that makes a text much more surprising is not of its author.

Source: Qi et al., "ONION: A Simple and Effective Defense Against Textual Backdoor Attacks", EMNLP 2021. The paper
deletes such words before the model reads the text. As a detector of texts it is reconstructed: the score is that of
the most suspicious word, so that a text is rejected where ONION would delete something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.server.detectors._perplexity import LanguageModel, WordTrigram, load_network
from hauberk.server.detectors.base import Detector, State
from hauberk.server.model_view import View
from hauberk.tasks.errors import UserError
from hauberk.tasks.text import trigram
from hauberk.tasks.text.examples import Example, last_text


@dataclass(frozen=True, kw_only=True)
class ONION(Detector):
    """The largest drop of the perplexity that leaving one word out brings; a text without words scores 0.

    Needs nothing of the classifier. A network costs a pass for the text and one for each of its words.

    Args:
        model: a causal language model of transformers, a folder or a name on the hub ("gpt2" in the paper); without
            it, a word trigram fitted on the server's clean texts.
        revision: its version on the hub; pin one, so that a figure always means the same weights.
        max_words: how many first words of a text are looked at.
    """

    model: str | None = None
    revision: str | None = None
    max_words: int = 512

    def __post_init__(self) -> None:
        """Refuses to look at no words."""
        super().__post_init__()
        if self.max_words < 1:
            raise UserError(f"max_words: must be at least 1, got {self.max_words!r}")

    def check(self, view: View, estimate: Sequence[Example], protected: int) -> None:
        """Refuses a network that cannot be loaded, too: its weights may be missing where its settings are not."""
        super().check(view, estimate, protected)
        if self.model is not None:
            load_network(self.model, self.revision, view.device)

    def fit(
        self,
        view: View,
        estimate: Sequence[Example],
        validation: Sequence[Example],
        protected: int,
        rng: torch.Generator,
    ) -> State:
        """Returns the language model."""
        reader: LanguageModel
        if self.model is None:
            reader = WordTrigram(trigram.fit(map(last_text, estimate)))
        else:
            reader = load_network(self.model, self.revision, view.device)
        return {"reader": reader}

    def score(self, view: View, state: State, examples: Sequence[Example]) -> Tensor:
        """Returns the suspicion of the most suspicious word of each of ``examples``, float64 [n]."""
        reader, found = state["reader"], []
        for example in examples:
            words = last_text(example).split()[: self.max_words]
            view.passes += reader.passes(words) if words else 0
            found.append(max(reader.suspicions(words), default=0.0) if words else 0.0)
        return torch.tensor(found, dtype=torch.float64)

    def notes(self, state: State) -> list[str]:
        """Returns which language model judges."""
        if self.model is None:
            return [
                "language model: a word trigram fitted on the server's clean texts, in place of the paper's GPT-2"
            ]
        return [f"language model: {self.model}"]
