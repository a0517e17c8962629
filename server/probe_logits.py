"""How a model answers to noise: outputs for random token ids, for the rules that look at behaviour.

Source: the random inputs of DeepSight (Rieger et al., NDSS 2022), for texts random token ids; their length is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.tasks.parameters import load_state
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.metrics import predict
from hauberk.tasks.text.models.base import TextModel

LENGTH = 16  # tokens: about a sentence of SST-2 or a tweet


def probe_logits(
    model: TextModel, rule: Any, rng: torch.Generator, *, precision: str, device: str
) -> Callable[[Tensor], Tensor]:
    """Returns a function from parameters [n_params] to logits [n_inputs, n_classes]; it overwrites ``model``."""
    stage = getattr(rule, "rule", rule)  # a chain ends in its rule
    texts = random_texts(getattr(stage, "n_inputs", 1000) * getattr(stage, "n_seeds", 1), model, rng)

    def logits(parameters: Tensor) -> Tensor:
        load_state(model, parameters)
        return predict(model, texts, batch_size=512, precision=precision, device=device)

    return logits


def random_texts(n: int, model: TextModel, rng: torch.Generator) -> Encoded:
    """Returns ``n`` texts of random token ids, padding left out."""
    tokens = torch.randint(1, model.embedding.num_embeddings, (n * LENGTH,), generator=rng)
    zeros = np.zeros(n, np.int64)
    offsets = np.arange(n + 1, dtype=np.int64) * LENGTH
    return Encoded(tokens=tokens.numpy().astype(np.int32), offsets=offsets, labels=zeros, index=zeros)
