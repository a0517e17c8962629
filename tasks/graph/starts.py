"""Where tables begin: at random, along the principal axes of texts, or where Pretrain-KGE's first phases lead.

Source: Zhang et al., "Pretrain-KGE: Learning Knowledge Representation from Pretrained Language Models", Findings of
EMNLP 2020: semantic-based fine-tuning, knowledge extracting, KGE training. Its details are reconstructed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.batches import batches
from hauberk.tasks.graph.graph import Graph, Start
from hauberk.tasks.graph.loss import loss
from hauberk.tasks.graph.models._networks import SemanticModel
from hauberk.tasks.graph.models.base import ScoreFunction
from hauberk.tasks.graph.splitting import taken
from hauberk.tasks.graph.triples import GraphSplits, encoded
from hauberk.tasks.package_data import digest
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.text_vectors import text_vectors


def with_start(graph: Graph, function: ScoreFunction, splits: GraphSplits, public: float) -> Graph:
    """Returns the graph with what the model's ``init`` needs.

    Args:
        graph: without vectors.
        function: what the vectors are for.
        splits: the texts and the triples.
        public: share of the training triples that the server may tune on.

    Raises:
        UserError: there are no texts, or no triples to tune on.
    """
    if function.init == "random":
        return graph
    if not splits.entity_texts:
        raise UserError(
            f"task.model.init: '{function.init}' needs texts of the entities, task.dataset.entities, got none"
        )
    graph = replace(
        graph, text_vectors=text_vectors(splits.entity_texts, function.encoder, function.max_length)
    )
    if function.init == "pretrain" and function.pretraining.phases == "semantic":
        return graph
    return replace(graph, start=_start(graph, function, splits, public), text_vectors=None)


def _start(graph: Graph, function: ScoreFunction, splits: GraphSplits, public: float) -> Start:
    assert graph.text_vectors is not None
    if function.init == "text":
        weight, bias = principal_projection(graph.text_vectors, function)
        return Start(graph.text_vectors @ weight.T + bias)
    model = semantic_model(function, graph, generator(splits.seed, "pretraining model"))
    if function.pretraining.start is not None:
        _load(model, Path(function.pretraining.start))
    else:
        train = splits.whole[0]
        known = taken(train, round(public * len(train)), generator(splits.seed, "public"))
        fine_tune(model, encoded(known).triples, generator(splits.seed, "pretraining"))
    with torch.no_grad():
        return Start(model.entity_table().clone(), model.relations.weight.detach().clone())


def start_digest(function: ScoreFunction) -> str:
    """Returns a digest of the file that tables are read from, empty where there is none; UserError if it is missing."""
    path = function.pretraining.start
    return "" if path is None else digest([Path(path)])


def semantic_model(function: ScoreFunction, graph: Graph, rng: torch.Generator) -> SemanticModel:
    """Returns a model of the first phase, whose projection begins along the texts' principal axes."""
    assert graph.text_vectors is not None
    relations = function.random_relations(graph.n_relations, rng)
    model = SemanticModel(function, graph.text_vectors, relations)
    weight, bias = principal_projection(graph.text_vectors, function)
    model.projection.weight.data, model.projection.bias.data = weight, bias
    return model


def principal_projection(vectors: Tensor, function: ScoreFunction) -> tuple[Tensor, Tensor]:
    """Returns W [w, h] and b [w]: the first w principal axes of ``vectors`` [n, h], as wide as random vectors are.

    Where the texts have fewer axes than w, the axes begin again.
    """
    centre = vectors.double().mean(dim=0)
    centred = vectors.double() - centre
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1).T
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    axes = axes * largest.sign()
    axes = axes[torch.arange(function.entity_width) % len(axes)]
    scale = function.spread / math.sqrt(3) / (centred @ axes.T).square().mean().sqrt()
    weight = scale * axes
    return weight.float(), -(weight @ centre).float()


def fine_tune(model: SemanticModel, triples: np.ndarray, rng: torch.Generator) -> None:
    """Trains the first phase in place on public triples, int64 [n, 3].

    Raises:
        UserError: there are none.
    """
    settings = model.score_function.pretraining
    if not len(triples):
        raise UserError("task.public: pretraining at the server needs public triples, got none")
    entities = np.arange(len(model.text_vectors))
    optimizer = torch.optim.Adam(
        [parameter for parameter in model.parameters() if parameter.requires_grad], lr=settings.lr
    )
    for _ in range(settings.epochs):
        for batch in batches(triples, settings.batch_size, model.score_function.negatives, entities, rng):
            optimizer.zero_grad(set_to_none=True)
            loss(model, batch).backward()
            optimizer.step()


def _load(model: nn.Module, path: Path) -> None:
    """Reads the first phase's result; raises UserError where the file is none of this model."""
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise UserError(f"task.model.pretraining.start: cannot read '{path}': {error}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"task.model.pretraining.start: '{path}' is of another model: {reason}") from error
