"""Texts that say nothing: random token ids, for whoever looks at how a model answers to noise."""

from __future__ import annotations

import numpy as np
import torch

from hauberk.tasks.text.encoding import Encoded

LENGTH = 16  # tokens: about a sentence of SST-2 or a tweet


def random_texts(n: int, vocabulary_size: int, rng: torch.Generator) -> Encoded:
    """Returns ``n`` texts of random token ids, padding left out."""
    tokens = torch.randint(1, vocabulary_size, (n * LENGTH,), generator=rng)
    zeros = np.zeros(n, np.int64)
    offsets = np.arange(n + 1, dtype=np.int64) * LENGTH
    return Encoded(tokens=tokens.numpy().astype(np.int32), offsets=offsets, labels=zeros, index=zeros)
