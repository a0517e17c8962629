"""TextCNN: filters over three to five words, and the strongest answer of each.

Source: Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014, eq. (2)-(4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import seeded
from hauberk.tasks.text.batches import SHORTEST, Batch
from hauberk.tasks.text.models._embeddings import check_start, tokenizer_of, word_table
from hauberk.tasks.text.models._windows import inside, strongest
from hauberk.tasks.text.models.base import TextModel
from hauberk.tasks.text.tokenizer import Tokenizer


class TextCNNModel(TextModel):
    """The network; see ``TextCNN`` for its settings."""

    def __init__(self, config: TextCNN, n_classes: int):
        super().__init__()
        dim, n = config.embedding_dim, config.n_filters
        self.words = word_table(dim, config.embedding)
        self.filters: Any = nn.ModuleList(nn.Conv1d(dim, n, width) for width in config.widths)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(n * len(config.widths), n_classes)

    @property
    def embedding(self) -> nn.Embedding:
        """The word table, one row for each token of the vocabulary."""
        return self.words

    def layers(self, batch: Batch) -> list[Tensor]:
        """Returns one layer, [b, L, h]: each filter's answer at the word where its window starts, or 0."""
        channels, answers = self.words(batch.tokens).transpose(1, 2), []
        for each in self.filters:
            (width,) = each.kernel_size
            found = each(channels).relu() * inside(batch.mask, width)[:, None]
            answers.append(nn.functional.pad(found, (0, width - 1)))
        return [torch.cat(answers, dim=1).transpose(1, 2)]

    def features(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns each filter's strongest answer, [b, h]."""
        return hidden.amax(dim=1)

    def head(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns the logits, [b, n_classes]."""
        return self.classifier(self.dropout(self.features(hidden, batch)))

    def forward(self, batch: Batch) -> Tensor:
        """Returns the logits, [b, n_classes], without keeping the answers that lose the maximum."""
        best = strongest(self.words(batch.tokens), batch.mask, list(self.filters))
        return self.classifier(self.dropout(best.relu()))


@dataclass(frozen=True, kw_only=True)
class TextCNN:
    """Kim's network over WordPieces.

    Args:
        embedding_dim: width of a word vector.
        n_filters: filters of each width.
        widths: window widths in tokens, at most 5.
        dropout: share of the pooled answers dropped in training.
        embedding: where the word vectors start, "random" (from N(0, 1)), "pretrained" or "glove".
    """

    embedding_dim: int = 100
    n_filters: int = 100
    widths: tuple[int, ...] = (3, 4, 5)
    dropout: float = 0.5
    embedding: str = "random"

    def __post_init__(self) -> None:
        """Refuses an unknown start and widths that no batch could hold."""
        check_start(self.embedding)
        object.__setattr__(self, "widths", tuple(self.widths))
        if not self.widths or not all(1 <= width <= SHORTEST for width in self.widths):
            raise UserError(f"text_cnn's widths must lie between 1 and {SHORTEST} tokens, got {self.widths}.")

    def tokenizer(self) -> Tokenizer:
        """Returns the tokenizer of the word vectors, without [CLS] and [SEP] around a text."""
        return tokenizer_of(self.embedding)

    def build(self, n_classes: int, rng: torch.Generator) -> TextCNNModel:
        """Returns a new network."""
        with seeded(rng):
            return TextCNNModel(self, n_classes)
