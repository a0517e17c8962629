"""What a frozen language model makes of texts: the mean over a text's tokens of its last layer.

The vectors of many texts are kept in ``$HAUBERK_CACHE``, by default ``~/.cache/hauberk``, a file for each list of them:
a batch's padding may show in the last bit of a vector, so the same list gives the same bits, whoever else was read.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hauberk.tasks.digest import digest_of
from hauberk.tasks.errors import UserError
from hauberk.tasks.package_data import digest
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.batches import Batch, evaluation_batches
from hauberk.tasks.text.models.base import TextModel
from hauberk.tasks.text.models.pretrained import EMBEDDED, Pretrained

WORTH_KEEPING = 2000  # texts: what fewer take is a matter of seconds
EMBEDDED_WIDTH = 384
BATCH = 64


@lru_cache(maxsize=2)
def text_vectors(texts: tuple[str, ...], encoder: str, max_length: int) -> Tensor:
    """Returns the vector of each text, float32 [n, width].

    Args:
        texts: what to read; one that comes twice is read twice.
        encoder: "embedded:minilm-l6", a folder, or a name on the Hugging Face hub, which is taken to mean the same
            weights always.
        max_length: how many tokens of a text are read at most.

    Raises:
        UserError: the encoder cannot be loaded.
    """
    if len(texts) < WORTH_KEEPING:
        return _encoded(texts, encoder, max_length)
    path = _kept(texts, encoder, max_length)
    if path.exists():
        return load_file(path)["vectors"]
    vectors = _encoded(texts, encoder, max_length)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    save_file({"vectors": vectors}, partial)
    partial.replace(path)
    return vectors


def width_of(encoder: str) -> int:
    """Returns how many numbers a vector of ``encoder`` has; UserError where it cannot be found."""
    if encoder == EMBEDDED:
        return EMBEDDED_WIDTH
    import transformers

    try:
        return int(transformers.AutoConfig.from_pretrained(encoder).hidden_size)
    except (OSError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"model.encoder: cannot load '{encoder}': {reason}") from error


@torch.inference_mode()
def _encoded(texts: tuple[str, ...], encoder: str, max_length: int) -> Tensor:
    config = Pretrained(path=encoder)
    model = config.build(2, generator(0, "unused head")).eval()
    encoded = config.tokenizer().encode(texts, None, max_length)
    encoded = encoded.labelled(np.zeros(len(texts), np.int64), np.arange(len(texts)))
    parts = [(batch.rows, _means(model, batch)) for batch in evaluation_batches(encoded, BATCH)]
    rows, vectors = (torch.cat(part) for part in zip(*parts, strict=True))
    return vectors[rows.argsort()].clone()


def _means(model: TextModel, batch: Batch) -> Tensor:
    """Returns the means of the last hidden states over the real tokens, [b, width]."""
    hidden, mask = model.layers(batch)[-1], batch.mask[:, :, None].float()
    return (hidden * mask).sum(dim=1) / mask.sum(dim=1)


def _kept(texts: tuple[str, ...], encoder: str, max_length: int) -> Path:
    """Returns the file of these vectors; of an encoder in a folder its name says the content, too."""
    files = sorted(path for path in Path(encoder).glob("*") if path.is_file())
    key = digest_of([texts, encoder, digest(files), max_length])
    folder = os.environ.get("HAUBERK_CACHE") or Path.home() / ".cache" / "hauberk"
    return Path(folder) / "text_vectors" / f"{key[:32]}.safetensors"
