"""What GRU and LSTM share: a text read in both directions, and the strongest answer of each unit.

Sources: Cho et al., EMNLP 2014; Hochreiter and Schmidhuber, 1997; max-pooling: Conneau et al., EMNLP 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from hauberk.tasks.seeds import seeded
from hauberk.tasks.text.batches import Batch
from hauberk.tasks.text.models._embeddings import check_start, tokenizer_of, word_table
from hauberk.tasks.text.models.base import TextModel, max_over_text
from hauberk.tasks.text.tokenizer import Tokenizer


class RecurrentModel(TextModel):
    """The network; see ``Recurrent`` for its settings."""

    def __init__(self, config: Recurrent, n_classes: int):
        super().__init__()
        self.words = word_table(config.embedding_dim, config.embedding)
        self.reader = config.cell(config.embedding_dim, config.hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.hidden, n_classes)

    @property
    def embedding(self) -> nn.Embedding:
        """The word table, one row for each token of the vocabulary."""
        return self.words

    def layers(self, batch: Batch) -> list[Tensor]:
        """Returns one layer, [b, L, h], both directions side by side; the way back starts at the end."""
        lengths = batch.mask.sum(dim=1).cpu()
        packed = pack_padded_sequence(
            self.words(batch.tokens), lengths, batch_first=True, enforce_sorted=False
        )
        hidden, _ = pad_packed_sequence(
            self.reader(packed)[0], batch_first=True, total_length=batch.tokens.shape[1]
        )
        return [hidden]

    def features(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns each unit's largest value over the real tokens, [b, h]."""
        return max_over_text(hidden, batch.mask)

    def head(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns the logits, [b, n_classes]."""
        return self.classifier(self.dropout(self.features(hidden, batch)))


@dataclass(frozen=True, kw_only=True)
class Recurrent:
    """What GRU and LSTM share.

    Args:
        embedding_dim: width of a word vector.
        hidden: units in each direction.
        dropout: share of the pooled units dropped in training.
        embedding: where the word vectors start, "random", "pretrained" or "glove".
    """

    cell: ClassVar[type[nn.GRU] | type[nn.LSTM]]

    embedding_dim: int = 100
    hidden: int = 128
    dropout: float = 0.5
    embedding: str = "random"

    def __post_init__(self) -> None:
        """Refuses an unknown start."""
        check_start(self.embedding)

    def tokenizer(self) -> Tokenizer:
        """Returns the tokenizer of the word vectors, without [CLS] and [SEP] around a text."""
        return tokenizer_of(self.embedding)

    def build(self, n_classes: int, rng: torch.Generator) -> RecurrentModel:
        """Returns a new network."""
        with seeded(rng):
            return RecurrentModel(self, n_classes)
