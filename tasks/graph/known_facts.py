"""Which facts are known: what the filtered ranks of a triple leave out, and what no corruption may be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class KnownFacts:
    """The triples of all splits, int64 [m, 3], over numbered entities and relations."""

    triples: np.ndarray
    n_entities: int
    n_relations: int

    def hold(self, triples: np.ndarray) -> np.ndarray:
        """Returns which of ``triples`` [n, 3] are known, bool [n]."""
        return np.isin(self._whole(triples), self._wholes)

    def other_tails(self, triples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the known tails beside each triple's own: rows of ``triples`` [k], and entities [k]."""
        keys = triples[:, 0] * self.n_relations + triples[:, 1]
        return _others(self._tails, keys, triples[:, 2])

    def other_heads(self, triples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the known heads beside each triple's own, likewise."""
        keys = triples[:, 2] * self.n_relations + triples[:, 1]
        return _others(self._heads, keys, triples[:, 0])

    def _whole(self, triples: np.ndarray) -> np.ndarray:
        head, relation, tail = triples.T
        return (head * self.n_relations + relation) * self.n_entities + tail

    @cached_property
    def _wholes(self) -> np.ndarray:
        return np.sort(self._whole(self.triples))

    @cached_property
    def _tails(self) -> tuple[np.ndarray, np.ndarray]:
        head, relation, tail = self.triples.T
        return _sorted(head * self.n_relations + relation, tail)

    @cached_property
    def _heads(self) -> tuple[np.ndarray, np.ndarray]:
        head, relation, tail = self.triples.T
        return _sorted(tail * self.n_relations + relation, head)


def _sorted(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(keys, kind="stable")
    return keys[order], values[order]


def _others(
    table: tuple[np.ndarray, np.ndarray], keys: np.ndarray, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows and the values that a sorted table has for ``keys`` [n], but each row's ``own``."""
    known, values = table
    starts, stops = np.searchsorted(known, keys, "left"), np.searchsorted(known, keys, "right")
    lengths = stops - starts
    rows = np.repeat(np.arange(len(keys)), lengths)
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    found = values[np.repeat(starts, lengths) + offsets]
    others = found != own[rows]
    return rows[others], found[others]
