"""Every score function: one query against all entities is what pykeen's interaction says of each triple."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hauberk.tasks.graph.graph import graph_of
from hauberk.tasks.graph.knowledge_graph import KnowledgeGraph
from hauberk.tasks.graph.models import SCORE_FUNCTIONS
from hauberk.tasks.graph.models._networks import TableModel
from hauberk.tasks.graph.ranks import ranks
from hauberk.tasks.graph.scores import metrics
from hauberk.tasks.graph.triples import GraphSplits, Triple, encoded
from hauberk.tasks.seeds import generator

N_ENTITIES, N_RELATIONS = 30, 4
THEIRS = {
    "mrr": "mean_reciprocal_rank",
    "mean_rank": "mean_rank",
    "hits_at_1": "hits@1",
    "hits_at_3": "hits@3",
    "hits_at_10": "hits@10",
}


@pytest.fixture(params=sorted(SCORE_FUNCTIONS))
def model(request):
    function = SCORE_FUNCTIONS[request.param](dimension=6)
    rng = torch.Generator().manual_seed(0)
    entities = torch.randn(N_ENTITIES, function.entity_width, generator=rng)
    return TableModel(function, entities, function.random_relations(N_RELATIONS, rng))


@pytest.fixture(scope="module")
def splits():
    rng = np.random.default_rng(0)
    rows = {
        (int(h), int(r), int(t))
        for h, r, t in rng.integers(0, [N_ENTITIES, N_RELATIONS, N_ENTITIES], (300, 3))
    }
    triples = [Triple(index, *row) for index, row in enumerate(sorted(rows))]
    return splits_of(tuple(triples[::3]), tuple(triples[1::3]), tuple(triples[2::3]), N_ENTITIES, N_RELATIONS)


def splits_of(train, validation, test, n_entities, n_relations):
    """Splits of numbered entities and relations."""
    entities, relations = (tuple(map(str, range(n))) for n in (n_entities, n_relations))
    return GraphSplits(
        train=train, validation=validation, test=test, entities=entities, relations=relations,
        whole=(train, validation, test),
    )  # fmt: skip


def test_queries_score_as_triples_do(model):
    function, everyone = model.score_function, torch.arange(N_ENTITIES)
    head, relation = torch.tensor([[3], [7]]), torch.tensor([[1], [2]])
    table, vectors = model.entity_table(), model.relation_vectors(relation[:, 0])
    tails = function.against(function.tail_queries(table[head[:, 0]], vectors), table)
    assert torch.allclose(tails, model(head, relation, everyone), atol=1e-5)
    heads = function.against(function.head_queries(vectors, table[head[:, 0]]), table)
    assert torch.allclose(heads, model(everyone, relation, head), atol=1e-5)


def as_pykeen(model, factory):
    """The same vectors in a model of pykeen's own."""
    from pykeen import models

    kind = {"transe": "TransE", "distmult": "DistMult", "complex": "ComplEx", "rotate": "RotatE"}
    name = next(name for name, cls in SCORE_FUNCTIONS.items() if type(model.score_function) is cls)
    extra = {"scoring_fct_norm": 1} if name == "transe" else {}
    twin = getattr(models, kind[name])(triples_factory=factory, embedding_dim=6, random_seed=0, **extra)
    entities, relations = model.embedding.weight.data, model.relations.weight.data
    if name == "rotate":
        relations = torch.view_as_real(torch.polar(torch.ones_like(relations), relations)).flatten(1)
    for representation, values in (
        (twin.entity_representations[0], entities),
        (twin.relation_representations[0], relations),
    ):
        weight = representation._embeddings.weight
        weight.data.copy_(values.view(weight.shape))
    return twin


def test_metrics_are_those_of_pykeens_own_evaluator(model, splits):
    from pykeen.evaluation import RankBasedEvaluator
    from pykeen.triples import CoreTriplesFactory

    parts = {
        name: torch.from_numpy(encoded(getattr(splits, name)).triples)
        for name in ("train", "validation", "test")
    }
    factory = CoreTriplesFactory(parts["train"], num_entities=N_ENTITIES, num_relations=N_RELATIONS)
    result = RankBasedEvaluator().evaluate(
        as_pykeen(model, factory), parts["test"], batch_size=16, use_tqdm=False,
        additional_filter_triples=[parts["train"], parts["validation"]],
    )  # fmt: skip
    graph = graph_of(splits)
    found = ranks(model, parts["test"].numpy(), graph.facts)
    ours = metrics(torch.cat([found, torch.zeros(len(found), 1)], dim=1), np.arange(len(found)))
    for name, their_name in THEIRS.items():
        assert ours[name] == pytest.approx(result.get_metric(f"both.realistic.{their_name}"), abs=1e-6)


def test_a_rank_leaves_out_other_facts_but_not_for_a_lie(splits):
    function = SCORE_FUNCTIONS["transe"](dimension=1)
    model = TableModel(function, torch.arange(4.0)[:, None], torch.zeros(1, 1))
    known = [
        Triple(0, 0, 0, 0),
        Triple(1, 0, 0, 1),
        Triple(2, 0, 0, 2),
    ]  # scores 0, -1, -2, and -3 for tail 3
    small = splits_of(tuple(known[:1]), tuple(known[1:2]), tuple(known[2:]), 4, 1)
    facts = graph_of(small).facts
    asked = np.array([[0, 0, 2], [0, 0, 3]])
    assert ranks(model, asked, facts)[:, 0].tolist() == [1, 4]


def test_ties_take_the_mean_place_and_what_is_no_number_comes_last():
    function = SCORE_FUNCTIONS["distmult"](dimension=1)
    facts = graph_of(splits_of((Triple(0, 0, 0, 1),), (), (), 4, 1)).facts
    tied = TableModel(function, torch.ones(4, 1), torch.ones(1, 1))
    assert ranks(tied, np.array([[0, 0, 1]]), facts).tolist() == [[2.5, 2.5]]
    broken = TableModel(function, torch.tensor([[1.0], [math.nan], [1.0], [1.0]]), torch.ones(1, 1))
    assert ranks(broken, np.array([[0, 0, 1]]), facts)[0, 0] == 4


def test_training_learns_a_small_graph(model, splits):
    task = KnowledgeGraph(dataset=None, model=model.score_function, graph=graph_of(splits))
    data, optimizer = task.encode(splits.train), torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for epoch in range(15):
        for batch in task.batches(data, 40, generator(0, epoch)):
            optimizer.zero_grad()
            loss = task.loss(model, batch)
            loss.backward()
            optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    first, again = (list(task.batches(data, 40, generator(0, 1))) for _ in range(2))
    assert all(torch.equal(one.tails, other.tails) for one, other in zip(first, again, strict=True))
