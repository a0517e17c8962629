"""What a model must know of its graph: how large it is, which facts are known, and where its vectors begin."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from hauberk.tasks.graph.known_facts import KnownFacts
from hauberk.tasks.graph.triples import GraphSplits, encoded


@dataclass(frozen=True, eq=False)
class Start:
    """Where the tables begin: entities [n_entities, w], and relations [n_relations, w'] or None for random ones."""

    entities: Tensor
    relations: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A graph as the workers hold it; picklable.

    Attributes:
        facts: of all splits.
        validation: the validation triples, int64 [v, 3], by which thresholds of plausibility are chosen.
        degrees: in how many training triples each entity stands, int64 [n_entities].
        communities: to which one each entity belongs, int64 [n_entities]; empty where nothing asks for them.
        text_vectors: what the encoder makes of the entities' texts, float32 [n_entities, h], where a model reads them.
        start: where the tables begin, where that is not random.
    """

    facts: KnownFacts
    validation: np.ndarray
    degrees: np.ndarray
    communities: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    text_vectors: Tensor | None = None
    start: Start | None = None

    @property
    def n_entities(self) -> int:
        """How many entities there are."""
        return self.facts.n_entities

    @property
    def n_relations(self) -> int:
        """How many relations there are."""
        return self.facts.n_relations


def graph_of(splits: GraphSplits) -> Graph:
    """Returns the graph of the splits, without vectors."""
    n_entities, n_relations = len(splits.entities), len(splits.relations)
    parts = [encoded(part).triples for part in splits.whole]
    degrees = np.bincount(parts[0][:, [0, 2]].ravel(), minlength=n_entities)
    facts = KnownFacts(np.concatenate(parts), n_entities, n_relations)
    return Graph(facts=facts, validation=parts[1], degrees=degrees)
