"""STRIP: a text with a trigger keeps its class whatever else is in it.

Sources: Gao et al., "STRIP: A Defence Against Trojan Attacks on Deep Neural Networks", ACSAC 2019, and, for texts,
"Design and Evaluation of a Multi-Domain Trojan Detection Method on Deep Neural Networks" (STRIP-ViTA), IEEE TDSC
2022; the way of replacing words after the code of RAP (github.com/lancopku/RAP), from which details may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from hauberk.server.detectors.base import Detector, State
from hauberk.server.model_view import View
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import draw, generator
from hauberk.tasks.text.examples import Example, last_text, with_last_text


@dataclass(frozen=True, kw_only=True)
class STRIP(Detector):
    """Minus the mean entropy of the answers to copies of a text, in each of which other words stand for some.

    A copy gets the words of highest tf-idf of one clean text of another class, at random positions. Costs
    ``n_copies`` passes a text.

    Args:
        n_copies: how many copies.
        replace_ratio: the share of a text's words that are replaced, in (0, 1], and at least one word. The codes have
            0.7, 0.5 and 0.05; the default is what did best on short sentences, whose triggers larger shares hit.
    """

    calibrates_on: ClassVar[Literal["all", "protected"]] = "protected"

    n_copies: int = 20
    replace_ratio: float = 0.05

    def __post_init__(self) -> None:
        """Refuses no copies, and a share that is none."""
        super().__post_init__()
        if self.n_copies < 1:
            raise UserError(f"n_copies: must be at least 1, got {self.n_copies!r}")
        if not 0 < self.replace_ratio <= 1:
            raise UserError(f"replace_ratio: must lie above 0 and at most at 1, got {self.replace_ratio!r}")

    def check(self, view: View, estimate: Sequence[Example], protected: int) -> None:
        """Refuses a clean set that is all of the protected class, too: nothing to replace words with."""
        super().check(view, estimate, protected)
        if not any(example.label != protected for example in estimate):
            raise UserError(
                f"detectors: STRIP needs at least 1 clean example of another class than {protected} "
                f"({view.labels[protected]}), got 0 among {len(estimate)}; raise server.clean.n_examples"
            )

    def fit(
        self,
        view: View,
        estimate: Sequence[Example],
        validation: Sequence[Example],
        protected: int,
        rng: torch.Generator,
    ) -> State:
        """Returns the words of each clean text of another class, most telling first, and a seed."""
        others = [last_text(example) for example in estimate if example.label != protected]
        return {"donors": ranked_words(others), "seed": draw(rng)}

    def score(self, view: View, state: State, examples: Sequence[Example]) -> Tensor:
        """Returns minus the mean entropy, in nats, of each of ``examples``, float64 [n]."""
        copies = [copy for example in examples for copy in self.copies(example, state)]
        return -entropy(view.logits(copies)).view(len(examples), self.n_copies).mean(dim=1)

    def copies(self, example: Example, state: State) -> list[Example]:
        """Returns the perturbed copies, drawn anew for every text but the same whenever it comes."""
        text = last_text(example)
        rng, donors = generator(state["seed"], text), state["donors"]
        which = torch.randint(len(donors), (self.n_copies,), generator=rng).tolist()
        return [
            with_last_text(example, with_words_replaced(text, donors[row], self.replace_ratio, rng))
            for row in which
        ]


def entropy(logits: Tensor) -> Tensor:
    """Returns the entropy in nats of each row of logits [n, n_classes], float64 [n]."""
    logarithms = logits.double().log_softmax(dim=1)
    return -(logarithms.exp() * logarithms).sum(dim=1)


def with_words_replaced(text: str, words: Sequence[str], ratio: float, rng: torch.Generator) -> str:
    """Returns ``text`` with a share of its words, at least one, replaced by the first of ``words``."""
    parts = text.split()
    places = torch.randperm(len(parts), generator=rng).tolist()[: max(1, round(ratio * len(parts)))]
    for place, word in zip(places, words, strict=False):
        parts[place] = word
    return " ".join(parts)


def ranked_words(texts: Sequence[str]) -> list[list[str]]:
    """Returns the words of each text, each once, that of the highest tf-idf first; equal ones by the alphabet."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # an import of more than a second

    if not any(text.split() for text in texts):
        return [[] for _ in texts]
    vectorizer = TfidfVectorizer(analyzer=str.split)
    table = vectorizer.fit_transform(texts)
    names = vectorizer.get_feature_names_out()
    rows = (zip(-row.data, names[row.indices], strict=True) for row in table)
    return [[str(word) for _, word in sorted(row)] for row in rows]
