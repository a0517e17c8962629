"""Triples of a knowledge graph: as examples, as numbers, and as what a data set holds of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hauberk.tasks.base import TaskSplits


@dataclass(frozen=True, slots=True)
class Triple:
    """One fact, by the numbers of its entities and its relation; ``index`` is its row in its split."""

    index: int
    head: int
    relation: int
    tail: int


@dataclass(frozen=True, eq=False)
class EncodedTriples:
    """Triples as rows (head, relation, tail), int64 [n, 3]."""

    triples: np.ndarray

    def __len__(self) -> int:
        return len(self.triples)

    def take(self, rows: Any) -> EncodedTriples:
        """Returns the triples at ``rows``."""
        return EncodedTriples(self.triples[np.asarray(rows, dtype=np.int64)])


@dataclass(frozen=True, kw_only=True)
class RawGraph:
    """A data set before anything is drawn from it; the numbers are places in ``entities`` and ``relations``.

    Attributes:
        validation: None where it has no such part.
        entity_texts: one for each entity, or empty; ``relation_texts`` likewise.
    """

    entities: tuple[str, ...]
    relations: tuple[str, ...]
    train: tuple[Triple, ...]
    test: tuple[Triple, ...]
    validation: tuple[Triple, ...] | None
    entity_texts: tuple[str, ...] = ()
    relation_texts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GraphSplits(TaskSplits[Triple]):
    """The parts of a graph, and what its numbers stand for.

    Attributes:
        whole: the training, validation and test triples as they are in all, whatever of them one machine holds: ranks
            are filtered by all facts.
        seed: what the draws of a graph's start depend on.
        start: a digest of the file that tables are read from, where there is one: a run is known by it, too.
    """

    entities: tuple[str, ...]
    relations: tuple[str, ...]
    entity_texts: tuple[str, ...] = ()
    relation_texts: tuple[str, ...] = ()
    whole: tuple[tuple[Triple, ...], tuple[Triple, ...], tuple[Triple, ...]] = ((), (), ())
    seed: int = 0
    start: str = ""


def encoded(triples: Sequence[Triple]) -> EncodedTriples:
    """Returns triples as numbers."""
    rows = [(each.head, each.relation, each.tail) for each in triples]
    return EncodedTriples(np.array(rows, dtype=np.int64).reshape(-1, 3))
