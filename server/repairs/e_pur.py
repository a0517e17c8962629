"""E-PUR (embedding purification): words that moved far although they are rare get their old vectors back.

Source: Zhang et al., "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models", Findings of EMNLP 2022
(arXiv 2210.09545): the score of token i is ||delta_i|| / log(max(f_i, 20)), and the 200 largest are reset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from hauberk.server.assets import ServerAssets
from hauberk.server.repairs.base import Repair, Report
from hauberk.strategies.layout import Slot
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.corpora import EMBEDDED, corpus_texts
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.text.word_rows import word_table

LONGEST = 512  # tokens of a text that are counted, or all that the tokenizer lets a text have
RARE = 20  # occurrences: below that all words count as equally rare, as in the paper


@dataclass(frozen=True, kw_only=True)
class EPUR(Repair):
    """Resets the word vectors with the highest scores to the reference; special tokens never.

    Args:
        n_tokens: how many are reset.
        corpus: a plain-text file in which words are counted, beside the server's clean examples; by default the
            training texts of the embedded data sets. A few clean texts alone would make every word rare.
    """

    modality: ClassVar[str | None] = "text"

    n_tokens: int = 200
    corpus: str | None = None

    def __post_init__(self) -> None:
        """Refuses a negative number."""
        super().__post_init__()
        if self.n_tokens < 0:
            raise UserError(f"n_tokens: must be at least 0, got {self.n_tokens!r}")

    def check(self, assets: ServerAssets) -> None:
        """Refuses a model without word vectors of its own and a corpus that cannot be read, whose counts are kept."""
        self._frequencies(assets, word_slot(assets).shape[0])

    def __call__(self, parameters: Tensor, assets: ServerAssets) -> tuple[Tensor, Report]:
        """Returns the parameters [n_params] with reset rows, which rows those are, and where words were counted."""
        slot = word_slot(assets)
        table, reference = (vector[slot.slice].view(slot.shape) for vector in (parameters, assets.reference))
        scores = purification_scores(table - reference, self._frequencies(assets, len(table)))
        scores[sorted(assets.tokenizer.special_ids)] = 0
        rows = scores.argsort(descending=True, stable=True)[: self.n_tokens]
        rows = rows[scores[rows] > 0]
        repaired = parameters.clone()
        repaired[slot.slice].view(slot.shape)[rows] = reference[rows]
        return repaired, {"rows": rows.tolist(), "corpus": self.corpus or ", ".join(EMBEDDED)}

    def _frequencies(self, assets: ServerAssets, n_tokens: int) -> Tensor:
        own = [text for one in assets.clean for text in (one.text, one.second) if text is not None]
        tokenizer: Any = assets.tokenizer  # a frozen dataclass, and so a key for the cache
        return corpus_counts(tokenizer, self.corpus, n_tokens) + counts(tokenizer, own, n_tokens)


@cache
def corpus_counts(tokenizer: Tokenizer, corpus: str | None, n_tokens: int) -> Tensor:
    """Returns how often each token id occurs in a corpus, int64 [n_tokens]; counted once in a process."""
    return counts(tokenizer, corpus_texts(corpus, "repairs.e_pur.corpus"), n_tokens)


def counts(tokenizer: Tokenizer, texts: Sequence[str], n_tokens: int) -> Tensor:
    """Returns how often each token id occurs in ``texts``, int64 [n_tokens]."""
    if not texts:
        return torch.zeros(n_tokens, dtype=torch.long)
    longest = LONGEST if tokenizer.longest is None else min(LONGEST, tokenizer.longest)
    tokens = torch.as_tensor(tokenizer.encode(texts, None, longest).tokens).long()
    return torch.bincount(tokens, minlength=n_tokens)


def purification_scores(change: Tensor, frequency: Tensor) -> Tensor:
    """Returns ||change|| / log(max(frequency, 20)) of each row of ``change`` [n, h], float64 [n]."""
    return change.double().norm(dim=1) / frequency.clamp(min=RARE).double().log()


def word_slot(assets: ServerAssets) -> Slot:
    """Returns the place of the word vectors in the parameter vector.

    Raises:
        UserError: if the model does not send them, as where only an adapter is trained.
    """
    table = word_table(assets.model).weight
    for name, parameter in assets.model.named_parameters():
        if parameter is table and any(slot.name == name for slot in assets.layout):
            return assets.layout[name]
    raise UserError("repairs: e_pur needs word embeddings that are trained, and this model trains none")
