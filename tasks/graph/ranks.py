"""Filtered ranks: how many entities a model takes for a better tail, or head, of a triple than the true one.

Where scores tie, the rank is the mean over all orders ("realistic"). Source: Bordes et al., NeurIPS 2013, for the
filter; Berrendorf et al., "On the Ambiguity of Rank-Based Evaluation of Entity Alignment or Link Prediction", 2020.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hauberk.tasks.graph.known_facts import KnownFacts
from hauberk.tasks.graph.models._networks import GraphModel

CHUNK = 64  # queries that are scored together


@torch.no_grad()
def ranks(model: GraphModel, triples: np.ndarray, facts: KnownFacts) -> Tensor:
    """Returns the rank of each triple's tail and of its head, from 1, float64 [n, 2].

    Other known facts are left out of the ranking of a known fact. A triple that is none, such as what an attacker wants
    believed, has to stand before the truth as well. A score that is not a number is below all others.
    """
    table = model.entity_table()
    parts = [
        _ranks(model, table, part, facts) for part in np.array_split(triples, -(-len(triples) // CHUNK) or 1)
    ]
    return torch.cat(parts)


def _ranks(model: GraphModel, table: Tensor, triples: np.ndarray, facts: KnownFacts) -> Tensor:
    function, device = model.score_function, table.device
    heads, relations, tails = torch.from_numpy(triples).to(device).T
    vectors = model.relation_vectors(relations)
    ask_tails = function.against(function.tail_queries(table[heads], vectors), table)
    ask_heads = function.against(function.head_queries(vectors, table[tails]), table)
    known = facts.hold(triples)
    return torch.stack(
        [
            _realistic(ask_tails, tails, _filtered(known, *facts.other_tails(triples))),
            _realistic(ask_heads, heads, _filtered(known, *facts.other_heads(triples))),
        ],
        dim=1,
    )


def _filtered(known: np.ndarray, rows: np.ndarray, entities: np.ndarray) -> tuple[Tensor, Tensor]:
    """Returns the places in a matrix of scores that are left out, for the rows of known facts alone."""
    kept = known[rows]
    return torch.from_numpy(rows[kept]), torch.from_numpy(entities[kept])


def _realistic(scores: Tensor, wanted: Tensor, left_out: tuple[Tensor, Tensor]) -> Tensor:
    scores = scores.float().nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    own = scores.gather(1, wanted[:, None])
    better, at_least = scores > own, scores >= own
    better[left_out] = False
    at_least[left_out] = False
    return (better.sum(dim=1) + 1 + at_least.sum(dim=1)).double().cpu() / 2
