"""The two forms of a model: tables of vectors, and vectors that are read from texts."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from hauberk.tasks.graph.models.base import ScoreFunction


class GraphModel(nn.Module, ABC):
    """Vectors of entities and relations behind one score function; ``model(h, r, t)`` is the scores of triples."""

    def __init__(self, score_function: ScoreFunction) -> None:
        super().__init__()
        self.score_function = score_function
        self.interaction = score_function.interaction()
        self.criterion = score_function.criterion()

    @abstractmethod
    def entity_vectors(self, entities: Tensor) -> Tensor:
        """Returns the vectors of entities [...] as rows of numbers, [..., entity_width]."""

    @abstractmethod
    def relation_vectors(self, relations: Tensor) -> Tensor:
        """Returns the vectors of relations, likewise, [..., relation_width]."""

    @abstractmethod
    def entity_table(self) -> Tensor:
        """Returns the vectors of all entities, [n_entities, entity_width]."""

    def forward(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        """Returns the scores of triples, whose numbers have shapes that broadcast."""
        function = self.score_function
        return self.interaction(
            function.entity_form(self.entity_vectors(heads)),
            function.relation_form(self.relation_vectors(relations)),
            function.entity_form(self.entity_vectors(tails)),
        )


class TableModel(GraphModel):
    """A row for each entity and each relation: the third phase of Pretrain-KGE, and any other embedding of a graph."""

    def __init__(self, score_function: ScoreFunction, entities: Tensor, relations: Tensor) -> None:
        super().__init__(score_function)
        self.embedding = nn.Embedding.from_pretrained(entities.clone(), freeze=False)
        self.relations = nn.Embedding.from_pretrained(relations.clone(), freeze=False)

    def entity_vectors(self, entities: Tensor) -> Tensor:
        """Returns rows of the table."""
        return self.embedding(entities)

    def relation_vectors(self, relations: Tensor) -> Tensor:
        """Returns rows of the table."""
        return self.relations(relations)

    def entity_table(self) -> Tensor:
        """Returns the table."""
        return self.embedding.weight


class SemanticModel(GraphModel):
    """W x + b of what the encoder makes of an entity's text: the first phase of Pretrain-KGE.

    Relations have free vectors. The encoder's output is no parameter: nobody sends it.
    """

    text_vectors: Tensor

    def __init__(self, score_function: ScoreFunction, text_vectors: Tensor, relations: Tensor) -> None:
        super().__init__(score_function)
        self.register_buffer("text_vectors", text_vectors, persistent=False)
        self.projection = nn.Linear(text_vectors.shape[1], score_function.entity_width)
        self.relations = nn.Embedding.from_pretrained(relations.clone(), freeze=False)

    def entity_vectors(self, entities: Tensor) -> Tensor:
        """Returns the projections; each entity is projected once, however often it is asked for."""
        different, places = torch.unique(entities, return_inverse=True)
        return self.projection(self.text_vectors[different])[places]

    def relation_vectors(self, relations: Tensor) -> Tensor:
        """Returns rows of the table."""
        return self.relations(relations)

    def entity_table(self) -> Tensor:
        """Returns the projections of all texts: what the second phase extracts."""
        return self.projection(self.text_vectors)
