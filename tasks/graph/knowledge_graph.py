"""knowledge_graph: which facts are missing from a graph, learned by vectors of its entities and relations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from hauberk.tasks.base import Metric, Task
from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.batches import TripleBatch, batches
from hauberk.tasks.graph.classification import rightly_classified
from hauberk.tasks.graph.communities import communities
from hauberk.tasks.graph.datasets import GRAPHS
from hauberk.tasks.graph.graph import Graph, graph_of
from hauberk.tasks.graph.loss import loss
from hauberk.tasks.graph.models import SCORE_FUNCTIONS
from hauberk.tasks.graph.models._networks import GraphModel, TableModel
from hauberk.tasks.graph.models.base import ScoreFunction
from hauberk.tasks.graph.ranks import ranks
from hauberk.tasks.graph.scores import METRICS, metrics
from hauberk.tasks.graph.splitting import held_back, taken
from hauberk.tasks.graph.starts import semantic_model, start_digest, with_start
from hauberk.tasks.graph.triples import EncodedTriples, GraphSplits, RawGraph, Triple, encoded
from hauberk.tasks.seeds import generator


class Dataset(Protocol):
    """A graph's settings: what GRAPHS holds."""

    def load(self) -> RawGraph:
        """Returns all of its triples, the same at every call."""


@dataclass(frozen=True, kw_only=True)
class KnowledgeGraph(Task):
    """Link prediction in a knowledge graph.

    Args:
        dataset: where the triples come from.
        model: what judges them.
        validation: share of the training triples held back where the data set has no validation part.
        n_train: how many training triples are used, drawn at random; None for all.
        rows: "all": a client trains and sends every vector, since corruptions are drawn from all entities; "own":
            those of the entities and relations of its own triples alone, and rules aggregate each row over the clients
            that have it.
        keys: what partitions cut by: "relation", or "community", that of a triple's head among the communities of the
            training graph.
        public: share of the training triples that the server may tune on before the first round.
        graph: what a model must know of the data, which ``bind`` fills in.
    """

    modality: ClassVar[str] = "graph"
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    components: ClassVar[Mapping[str, Mapping[str, type]]] = {"dataset": GRAPHS, "model": SCORE_FUNCTIONS}
    bound: ClassVar[frozenset[str]] = frozenset({"graph"})
    unit: ClassVar[str] = "triples"

    dataset: Dataset
    model: ScoreFunction
    validation: float = 0.05
    n_train: int | None = None
    rows: str = "all"
    keys: str = "relation"
    public: float = 1.0
    graph: Graph | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuses settings outside their range, all of them at once."""
        rules = {
            "validation: must be a share in (0, 1)": 0 < self.validation < 1,
            "n_train: must be at least 1 triple": self.n_train is None or self.n_train >= 1,
            "public: must be a share in [0, 1]": 0 <= self.public <= 1,
            "rows: must be 'all' or 'own'": self.rows in ("all", "own"),
            "keys: must be 'relation' or 'community'": self.keys in ("relation", "community"),
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            got = ((rule, getattr(self, rule.partition(":")[0])) for rule in broken)
            raise UserError("\n".join(f"task.{rule}, got {value}" for rule, value in got))

    @property
    def slow_imports(self) -> tuple[str, ...]:
        """Pykeen's parts, which take seconds."""
        return ("pykeen.nn.modules", "pykeen.losses", "pykeen.sampling")

    def splits(self, seed: int) -> GraphSplits:
        """Loads the triples; what is held back, taken and public depends on ``seed``.

        Raises:
            UserError: if a file is missing or odd, or parts do not fit each other.
        """
        raw = self.dataset.load()
        train, validation = raw.train, raw.validation
        if validation is None:
            train, validation = held_back(train, self.validation, generator(seed, "validation"))
        train = taken(train, self.n_train, generator(seed, "n_train"))
        return GraphSplits(
            train=train, validation=validation, test=raw.test, entities=raw.entities, relations=raw.relations,
            entity_texts=raw.entity_texts, relation_texts=raw.relation_texts,
            whole=(train, validation, raw.test), seed=seed, start=start_digest(self.model),
        )  # fmt: skip

    def bind(self, splits: GraphSplits) -> KnowledgeGraph:
        """Returns this task with its graph, and with where vectors begin: texts are read and tuned on here."""
        graph = graph_of(splits)
        if self.keys == "community":
            graph = replace(
                graph,
                communities=communities(encoded(splits.whole[0]).triples, graph.n_entities, splits.seed),
            )
        return replace(self, graph=with_start(graph, self.model, splits, self.public))

    @property
    def known(self) -> Graph:
        """The graph; raises ValueError before ``bind``."""
        if self.graph is None:
            raise ValueError("A model needs its graph: bind the task to its splits first.")
        return self.graph

    def encode(self, examples: Sequence[Triple]) -> EncodedTriples:
        """Returns triples as rows of numbers."""
        return encoded(examples)

    def concatenate(self, parts: Sequence[EncodedTriples]) -> EncodedTriples:
        """Joins encoded triples."""
        return EncodedTriples(np.concatenate([part.triples for part in parts]))

    def partition_keys(self, encoded: EncodedTriples) -> np.ndarray:
        """Returns the relations, or the communities of the heads, int64 [n]."""
        if self.keys == "community":
            return self.known.communities[encoded.triples[:, 0]]
        return encoded.triples[:, 1]

    @property
    def sparse_tables(self) -> tuple[str, ...]:
        """The tables of vectors where clients send their own rows alone; a projection has no such rows."""
        if self.rows == "all":
            return ()
        pretraining = self.model.init == "pretrain" and self.model.pretraining.phases == "semantic"
        return ("relations.weight",) if pretraining else ("embedding.weight", "relations.weight")

    def embedding_rows(self, encoded: EncodedTriples) -> np.ndarray | None:
        """Returns the entities of the triples where clients train no others."""
        return None if self.rows == "all" else self._entities(encoded)

    def _entities(self, encoded: EncodedTriples) -> np.ndarray:
        """Returns from which entities corruptions are drawn, ascending."""
        if self.rows == "all":
            return np.arange(self.known.n_entities)
        return np.unique(encoded.triples[:, [0, 2]])

    def build(self, seed: int) -> GraphModel:
        """Returns a new model; random vectors are drawn with ``seed``, others begin where ``bind`` led."""
        graph, rng = self.known, generator(seed, "model")
        if graph.text_vectors is not None:
            return semantic_model(self.model, graph, rng)
        relations = self.model.random_relations(graph.n_relations, rng)
        shape = (graph.n_entities, self.model.entity_width)
        entities = (2 * torch.rand(shape, generator=rng) - 1) * self.model.spread
        if graph.start is not None:
            entities = graph.start.entities
            relations = relations if graph.start.relations is None else graph.start.relations
        return TableModel(self.model, entities, relations)

    def batches(
        self, encoded: EncodedTriples, batch_size: int, rng: torch.Generator | None = None
    ) -> Iterator[TripleBatch]:
        """Yields every triple once, with corruptions of it."""
        return batches(encoded.triples, batch_size, self.model.negatives, self._entities(encoded), rng)

    def loss(self, model: Any, batch: TripleBatch) -> Tensor:
        """Returns pykeen's loss, a float32 scalar."""
        return loss(model, batch)

    def predict(
        self,
        model: Any,
        encoded: EncodedTriples,
        *,
        batch_size: int = 128,
        precision: str = "float32",
        device: str = "cpu",
    ) -> Tensor:
        """Returns of each triple the rank of its tail and of its head, and how well it is told from a corruption.

        float64 [n, 3], always computed in float32: ranks are comparisons of close numbers.
        """
        before = model.training
        model.eval()
        try:
            found = ranks(model, encoded.triples, self.known.facts)
            right = rightly_classified(model, encoded.triples, self.known)
        finally:
            model.train(before)
        return torch.cat([found, right[:, None]], dim=1)

    def score(self, predictions: Tensor, encoded: EncodedTriples) -> dict[str, float]:
        """Returns the metrics over both ranks of each triple."""
        rarity = self.known.degrees[encoded.triples[:, [0, 2]]].min(axis=1)
        return metrics(predictions, rarity)
