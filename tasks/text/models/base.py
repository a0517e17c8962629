"""The contract of every text model: hidden states, a head over them, and logits.

Detectors read the hidden states of each layer, embedding poisoning writes rows of the word table, Fine-mixing
leaves the head out, and layer-wise poisoning puts the head on every layer: they need no more than this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn

from hauberk.tasks.text.batches import Batch
from hauberk.tasks.text.tokenizer import Tokenizer


class TextModel(nn.Module, ABC):
    """A classifier of texts; ``model(batch)`` is the logits, [b, n_classes].

    Attributes:
        head_names: prefixes of the names of the parameters that only the classifier has.
    """

    head_names: tuple[str, ...] = ("classifier.",)

    @property
    @abstractmethod
    def embedding(self) -> nn.Embedding:
        """The word table, one row for each token of the vocabulary."""

    @abstractmethod
    def layers(self, batch: Batch) -> list[Tensor]:
        """Returns the hidden states of each layer, each [b, L, h]; the head reads the last one."""

    @abstractmethod
    def features(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns one vector per text, [b, h], of the hidden states of a layer, [b, L, h]."""

    @abstractmethod
    def head(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Returns the logits, [b, n_classes], of the hidden states of a layer, [b, L, h]."""

    def forward(self, batch: Batch) -> Tensor:
        """Returns the logits, [b, n_classes]; what a text gets does not depend on its neighbours' lengths."""
        return self.head(self.layers(batch)[-1], batch)


class ModelConfig(Protocol):
    """A model's settings: what MODELS holds."""

    def tokenizer(self) -> Tokenizer:
        """Returns the tokenizer whose ids the model reads."""

    def build(self, n_classes: int, rng: torch.Generator) -> TextModel:
        """Returns a new model whose initial weights are a function of the settings and ``rng`` alone."""


def max_over_text(hidden: Tensor, mask: Tensor) -> Tensor:
    """Returns the largest value of each unit over the real tokens, [b, h] of [b, L, h] and mask [b, L]."""
    return hidden.masked_fill(~mask[:, :, None], -torch.inf).amax(dim=1)
