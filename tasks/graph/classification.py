"""Triple classification: is a triple true? A score above its relation's threshold says yes.

Each true triple stands beside one corruption. Thresholds are those that are most often right on validation data.
Source: Socher et al., "Reasoning With Neural Tensor Networks for Knowledge Base Completion", NeurIPS 2013.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hauberk.tasks.graph.graph import Graph
from hauberk.tasks.graph.known_facts import KnownFacts
from hauberk.tasks.graph.models._networks import GraphModel

TRIES = 20  # corruptions of one triple that may turn out to be facts


@torch.no_grad()
def rightly_classified(model: GraphModel, triples: np.ndarray, graph: Graph) -> Tensor:
    """Returns how much of each pair of a triple and its corruption is told rightly: 0, 1/2 or 1, float64 [n]."""
    limits = _thresholds(model, graph)[triples[:, 1]]
    true, false = (_scores(model, part) for part in (triples, corrupted(triples, graph.facts)))
    return torch.from_numpy(((true > limits).astype(float) + (false <= limits)) / 2)


def corrupted(triples: np.ndarray, facts: KnownFacts) -> np.ndarray:
    """Returns ``triples`` [n, 3] with another tail each, so that they are no known facts; a function of each alone."""
    made = triples.copy()
    steps = np.abs(triples @ np.array([7919, 104729, 1299709]))
    open_rows = np.arange(len(triples))
    for attempt in range(TRIES):
        moved = 1 + (steps[open_rows] + 31 * attempt) % (facts.n_entities - 1)
        made[open_rows, 2] = (triples[open_rows, 2] + moved) % facts.n_entities
        open_rows = open_rows[facts.hold(made[open_rows])]
        if not len(open_rows):
            break
    return made


def _thresholds(model: GraphModel, graph: Graph) -> np.ndarray:
    """Returns one threshold for each relation, [n_relations]; where validation data lack it, that of all."""
    valid = graph.validation
    true, false = (_scores(model, part) for part in (valid, corrupted(valid, graph.facts)))
    limits = np.full(graph.n_relations, _best(true, false))
    for relation in np.unique(valid[:, 1]):
        own = valid[:, 1] == relation
        limits[relation] = _best(true[own], false[own])
    return limits


def _best(true: np.ndarray, false: np.ndarray) -> float:
    """Returns the threshold above which most of ``true`` and fewest of ``false`` lie."""
    scores = np.concatenate([true, false])
    order = np.argsort(scores, kind="stable")
    is_true = np.arange(len(scores)) < len(true)
    right = len(true) + np.cumsum(np.where(is_true[order], -1, 1))  # with the threshold at each score
    return float(scores[order][right.argmax()]) if len(scores) else 0.0


def _scores(model: GraphModel, triples: np.ndarray) -> np.ndarray:
    parts = torch.from_numpy(triples).to(next(model.parameters()).device).split(1024)
    found = [model(*part.T).float().nan_to_num(nan=-1e30).cpu() for part in parts]
    return torch.cat(found).numpy() if found else np.zeros(0, np.float32)
