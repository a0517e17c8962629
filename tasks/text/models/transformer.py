"""A small Transformer encoder from scratch.

Source: Vaswani et al., "Attention Is All You Need", NeurIPS 2017; by default with the normalisation before each
sublayer, which trains without a warm-up. The other skip connections are those of ``_skips``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import seeded
from hauberk.tasks.text.batches import Batch
from hauberk.tasks.text.models._embeddings import check_start, tokenizer_of, word_table
from hauberk.tasks.text.models._skips import SKIPS, check_skip
from hauberk.tasks.text.models.base import TextModel
from hauberk.tasks.text.tokenizer import Tokenizer


class Block(nn.Module):
    """Attention, then two linear layers, with a skip connection around each."""

    def __init__(self, config: Transformer):
        super().__init__()
        dim = config.embedding_dim
        self.n_heads = config.n_heads
        skip = SKIPS[config.skip]
        self.before_attention = skip(dim, config.scale)  # named as in the checkpoints of version 0.1
        self.project = nn.Linear(dim, 3 * dim)
        self.mix = nn.Linear(dim, dim)
        self.before_feedforward = skip(dim, config.scale)
        self.feedforward = nn.Sequential(
            nn.Linear(dim, config.hidden), nn.GELU(), nn.Linear(config.hidden, dim)
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Returns the next hidden states, [b, L, h]; ``mask`` [b, L] hides padding from attention."""
        hidden = self.before_attention.around(hidden, lambda read: self.dropout(self._attention(read, mask)))
        return self.before_feedforward.around(hidden, lambda read: self.dropout(self.feedforward(read)))

    def _attention(self, hidden: Tensor, mask: Tensor) -> Tensor:
        b, length, dim = hidden.shape
        parts = self.project(hidden).view(b, length, 3, self.n_heads, dim // self.n_heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [b, heads, L, h / heads]
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        return self.mix(mixed.transpose(1, 2).reshape(b, length, dim))


class TransformerModel(TextModel):
    """The network; see ``Transformer`` for its settings."""

    def __init__(self, config: Transformer, n_classes: int):
        super().__init__()
        self.words = word_table(config.embedding_dim, config.embedding)
        self.second = nn.Parameter(torch.zeros(config.embedding_dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.embedding_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.embedding_dim, n_classes)

    @property
    def embedding(self) -> nn.Embedding:
        """The word table, one row for each token of the vocabulary."""
        return self.words

    def layers(self, batch: Batch) -> list[Tensor]:
        """Returns the output of every block, each [b, L, h]."""
        embedded = self.words(batch.tokens)
        hidden = embedded + positions(batch.tokens.shape[1], embedded.shape[2]).to(embedded)
        if batch.segments is not None:
            hidden = hidden + batch.segments[:, :, None] * self.second
        hidden, outputs = self.dropout(hidden), []
        for block in self.blocks:
            hidden = block(hidden, batch.mask)
            outputs.append(hidden)
        return outputs

    def features(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns the normalised mean over the real tokens, [b, h]."""
        real = batch.mask[:, :, None]
        return (self.norm(hidden) * real).sum(dim=1) / real.sum(dim=1)

    def head(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns the logits, [b, n_classes]."""
        return self.classifier(self.dropout(self.features(hidden, batch)))


def positions(length: int, dim: int) -> Tensor:
    """Returns the sines and cosines that tell places apart, float32 [length, dim]; any length will do."""
    rates = torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dim]


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """An encoder with sinusoidal positions, mean-pooled.

    Args:
        embedding_dim: width of all hidden states; a multiple of ``n_heads``.
        n_layers: number of blocks.
        n_heads: attention heads of each.
        hidden: width of the feed-forward layer.
        dropout: share of units dropped in training.
        skip: the connection around each sublayer F: "pre_norm" x + F(LN(x)), "plain" x + F(x), "xskip" scale x + F(x),
            "xskip_ln" LN(scale x + F(x)), or "rskip_ln", which adds x to LN(x + F(x)) and normalises again until it has
            done so ``scale`` times; with 1 that is the post-norm block.
        scale: as said; 1 where ``skip`` has none.
        embedding: where the word vectors start, "random", "pretrained" or "glove".
    """

    embedding_dim: int = 128
    n_layers: int = 2
    n_heads: int = 4
    hidden: int = 256
    dropout: float = 0.1
    skip: str = "pre_norm"
    scale: float = 1.0
    embedding: str = "random"

    def __post_init__(self) -> None:
        """Refuses unknown starts and skips, and heads that do not divide the width."""
        check_start(self.embedding)
        check_skip(self.skip, self.scale)
        if self.embedding_dim % self.n_heads:
            raise UserError(
                f"model.embedding_dim = {self.embedding_dim} must be a multiple of n_heads = {self.n_heads}."
            )

    def tokenizer(self) -> Tokenizer:
        """Returns the tokenizer of the word vectors, without [CLS] and [SEP] around a text."""
        return tokenizer_of(self.embedding)

    def build(self, n_classes: int, rng: torch.Generator) -> TransformerModel:
        """Returns a new network."""
        with seeded(rng):
            return TransformerModel(self, n_classes)
