"""Tokenised texts as a few flat arrays: small, picklable, and readable in place by every worker of a node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """Tokenised examples, one after the other.

    Attributes:
        tokens: token ids of all examples, int32 [n_tokens].
        offsets: example i owns tokens[offsets[i]:offsets[i + 1]], int64 [n + 1]; no example is empty.
        labels: classes, int64 [n]; -1 where unknown.
        index: ``Example.index`` of each, int64 [n].
        segments: 0 for a token of the first text and 1 for one of the second, int8 [n_tokens]; ``None`` where
            no example is a pair.
        pad_id: the token that fills a batch.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    index: np.ndarray
    segments: np.ndarray | None = None
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, int64 [n]."""
        return np.diff(self.offsets)

    def sequences(self) -> list[np.ndarray]:
        """Returns the token ids of each example."""
        return np.split(self.tokens, self.offsets[1:-1])

    def take(self, rows: Sequence[int] | np.ndarray) -> Encoded:
        """Returns the examples at ``rows``, in that order; a row may be asked for more than once."""
        rows = np.asarray(rows, dtype=np.int64)
        where, offsets = self._positions(rows)
        return replace(
            self,
            tokens=self.tokens[where],
            offsets=offsets,
            labels=self.labels[rows],
            index=self.index[rows],
            segments=None if self.segments is None else self.segments[where],
        )

    def labelled(self, labels: np.ndarray, index: np.ndarray) -> Encoded:
        """Returns the same texts with these labels and indices, both int64 [n]."""
        if not len(labels) == len(index) == len(self):
            raise ValueError(
                f"{len(self)} texts need as many labels, got {len(labels)} and {len(index)} indices."
            )
        return replace(self, labels=labels, index=index)

    def _positions(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns where the tokens of ``rows`` lie, [n_taken], and the offsets they have side by side."""
        starts, lengths = self.offsets[rows], self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths), offsets


def encoded_from(
    sequences: Sequence[Sequence[int]], segments: Sequence[Sequence[int]] | None, pad_id: int, unknown_id: int
) -> Encoded:
    """Packs lists of token ids; a text without a token becomes one unknown token, so that no row is empty."""
    sequences = [ids if len(ids) else [unknown_id] for ids in sequences]
    lengths = np.fromiter((len(ids) for ids in sequences), dtype=np.int64, count=len(sequences))
    packed = None
    if segments is not None:
        packed = _packed([ids if len(ids) else [0] for ids in segments], np.int8)
    return Encoded(
        tokens=_packed(sequences, np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.full(len(sequences), -1, dtype=np.int64),
        index=np.arange(len(sequences), dtype=np.int64),
        segments=packed,
        pad_id=pad_id,
    )


def concatenate(parts: Sequence[Encoded]) -> Encoded:
    """Joins encodings made by one tokenizer, in order; where one has segments, those of the others are 0.

    Raises:
        ValueError: if there is nothing to join, or the parts differ in what pads them.
    """
    if len({part.pad_id for part in parts}) != 1:
        raise ValueError("Encodings to join must be at least one and come from one tokenizer.")
    lengths = np.concatenate([part.lengths for part in parts])
    segments = None
    if any(part.segments is not None for part in parts):
        segments = np.concatenate([_segments(part) for part in parts])
    return Encoded(
        tokens=np.concatenate([part.tokens for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        labels=np.concatenate([part.labels for part in parts]),
        index=np.concatenate([part.index for part in parts]),
        segments=segments,
        pad_id=parts[0].pad_id,
    )


def _segments(part: Encoded) -> np.ndarray:
    return np.zeros(len(part.tokens), np.int8) if part.segments is None else part.segments


def _packed(sequences: Sequence[Sequence[int]], dtype: type) -> np.ndarray:
    total = sum(len(ids) for ids in sequences)
    return np.fromiter((token for ids in sequences for token in ids), dtype=dtype, count=total)
