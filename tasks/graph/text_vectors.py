"""What a pretrained language model makes of the entities' texts: the mean over a text's tokens of its last layer."""

from __future__ import annotations

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hauberk.tasks.seeds import generator
from hauberk.tasks.text.batches import Batch, evaluation_batches
from hauberk.tasks.text.models.base import TextModel
from hauberk.tasks.text.models.pretrained import Pretrained

WORTH_KEEPING = 2000  # texts: what fewer take is a matter of seconds


@lru_cache(maxsize=2)
def text_vectors(texts: tuple[str, ...], encoder: str, max_length: int) -> Tensor:
    """Returns one vector for each text, float32 [n, h]; many texts are encoded once and kept in HAUBERK_CACHE.

    Raises:
        UserError: if the encoder cannot be loaded.
    """
    path = _kept(texts, encoder, max_length)
    if len(texts) < WORTH_KEEPING:
        return _encoded(texts, encoder, max_length)
    if path.exists():
        return load_file(path)["vectors"]
    vectors = _encoded(texts, encoder, max_length)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    save_file({"vectors": vectors}, partial)
    partial.replace(path)
    return vectors


def pooled(model: TextModel, batch: Batch) -> Tensor:
    """Returns the means of the last hidden states over the real tokens, [b, h]."""
    hidden, mask = model.layers(batch)[-1], batch.mask[:, :, None].float()
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1)


@torch.inference_mode()
def _encoded(texts: tuple[str, ...], encoder: str, max_length: int) -> Tensor:
    config = Pretrained(path=encoder)
    model = config.build(2, generator(0, "unused head")).eval()
    encoded = config.tokenizer().encode(texts, None, max_length)
    encoded = encoded.labelled(np.zeros(len(texts), np.int64), np.arange(len(texts)))
    parts = [(batch.rows, pooled(model, batch)) for batch in evaluation_batches(encoded, 64)]
    rows, vectors = (torch.cat(part) for part in zip(*parts, strict=True))
    return vectors[rows.argsort()].clone()


def _kept(texts: tuple[str, ...], encoder: str, max_length: int) -> Path:
    folder = os.environ.get("HAUBERK_CACHE") or Path.home() / ".cache" / "hauberk"
    key = hashlib.sha256(json.dumps([texts, encoder, max_length]).encode()).hexdigest()
    return Path(folder) / "text_vectors" / f"{key[:32]}.safetensors"
