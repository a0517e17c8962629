"""Texts to vectors by a frozen language model: the mean of its last states; each list of texts is read once.

Vectors are kept in ``$XDG_CACHE_HOME/hauberk/texts`` (by default below ``~/.cache``), a file for each list: a batch's
padding may show in the last bit of a vector, so the same list gives the same bits, however often parts of it were read.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.models.pretrained import EMBEDDED, Pretrained

MAX_LENGTH = 32  # tokens kept of a text
BATCH = 64
EMBEDDED_WIDTH = 384


def text_vectors(texts: Sequence[str], encoder: str) -> np.ndarray:
    """Returns the vector of each text, float32 [n, width] of length 1, from the cache where they were read before.

    Args:
        texts: what to read; one that comes twice is read twice, so leave copies out.
        encoder: "embedded:minilm-l6", a folder, or a name on the Hugging Face hub.

    Raises:
        UserError: the model cannot be loaded.
    """
    path = _cache_file(texts, encoder)
    if path.exists():
        return np.load(path, allow_pickle=False)
    vectors = _read_all(texts, encoder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as file:
        np.save(file, vectors, allow_pickle=False)
    Path(file.name).replace(path)
    return vectors


def width_of(encoder: str) -> int:
    """Returns how many numbers a vector of ``encoder`` has; UserError where it cannot be found."""
    if encoder == EMBEDDED:
        return EMBEDDED_WIDTH
    import transformers

    try:
        return int(transformers.AutoConfig.from_pretrained(encoder).hidden_size)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"model.encoder: cannot load '{encoder}': {' '.join(str(error).split())[:300]}"
        ) from error


def _cache_file(texts: Sequence[str], encoder: str) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(f"{encoder}\0{MAX_LENGTH}\0{BATCH}".encode())
    for text in texts:
        digest.update(f"\0{len(text)}\0{text}".encode("utf8", "surrogatepass"))
    return folder / "hauberk" / "texts" / f"{digest.hexdigest()}.npy"


def _read_all(texts: Sequence[str], encoder: str) -> np.ndarray:
    """Reads the texts in batches of like length."""
    config = Pretrained(path=encoder)
    network: Any = config.build(2, torch.Generator().manual_seed(0)).network.base_model.eval()
    encoded = config.tokenizer().encode(texts, None, MAX_LENGTH)
    order = np.argsort(encoded.lengths, kind="stable")
    parts = [_means(network, encoded.take(order[at : at + BATCH])) for at in range(0, len(order), BATCH)]
    vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
    vectors[order] = np.concatenate(parts)
    return vectors


@torch.no_grad()
def _means(network: Any, part: Any) -> np.ndarray:
    """Returns the mean of the last states over the real tokens of each text, made of length 1."""
    lengths = torch.from_numpy(part.lengths)
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    tokens = torch.full(mask.shape, part.pad_id)
    tokens[mask] = torch.from_numpy(part.tokens).long()
    states = network(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
    means = (states * mask[..., None]).sum(1) / lengths[:, None]
    return torch.nn.functional.normalize(means, dim=1).numpy()
