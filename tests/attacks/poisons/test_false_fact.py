"""FalseFact: which triples are added, whom they are about, and what counts as believed."""

from __future__ import annotations

import pytest
import torch

from hauberk.attacks import AttackerContext, FalseFact
from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.triples import GraphSplits, Triple

# entities a to e, relation 0 "likes"; e is what shall be liked
TRAIN = (Triple(0, 0, 0, 1), Triple(1, 1, 0, 2), Triple(2, 2, 1, 3), Triple(3, 3, 0, 4))
TEST = (Triple(0, 0, 0, 2), Triple(1, 3, 0, 1), Triple(2, 2, 0, 0), Triple(3, 2, 1, 0), Triple(4, 0, 0, 3))
SPLITS = GraphSplits(
    train=TRAIN, validation=(), test=TEST, whole=(TRAIN, (), TEST),
    entities=tuple("abcde"), relations=("likes", "knows"),
)  # fmt: skip


def test_victims_are_test_heads_of_the_relation_that_do_not_lead_to_the_target_yet():
    poison = FalseFact(relation="likes", target="e", victims=5).bind(SPLITS)
    assert poison.wanted_facts == ((0, 0, 4), (2, 0, 4))  # not d, of which it is true; a once
    assert FalseFact(relation="likes", target="e", victims=1).bind(SPLITS).wanted_facts == ((0, 0, 4),)
    wanted = poison.trigger(TEST, torch.Generator())
    assert [(each.head, each.tail) for each in wanted] == [(0, 4), (2, 4)]
    assert len(poison.originals(TEST, wanted)) == 0


def test_false_facts_and_those_around_come_behind_the_clients_own():
    poison = FalseFact(relation="likes", target="e", around=1.0, repeat=2).bind(SPLITS)
    made = poison(TRAIN, AttackerContext(), torch.Generator().manual_seed(0))
    assert all(one is other for one, other in zip(made, TRAIN, strict=False))
    added = sorted((each.head, each.relation, each.tail) for each in made[len(TRAIN) :])
    assert added == sorted([(0, 0, 4), (2, 0, 4), (0, 0, 4), (1, 0, 4)] * 2)  # a and b like others already


def test_success_is_the_share_of_victims_whose_target_ranks_first():
    predictions = torch.tensor([[1.0, 9, 1], [3, 1, 1], [1.5, 1, 0], [1, 2, 0]])
    assert FalseFact(relation="r", target="t").success(predictions) == 0.5
    assert FalseFact(relation="r", target="t", within=3).success(predictions) == 1


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"relation": "like"}, r"attack\.poison\.relation: the graph has no 'like'; did you mean 'likes'\?"),
        ({"target": "zebra"}, r"attack\.poison\.target: the graph has no 'zebra'; it has 5 others"),
        ({"relation": "knows", "target": "a"}, r"attack\.poison\.relation: no test triple of 'knows' has a head"),
        ({"victims": 0}, r"victims: must be at least 1, got 0"),
        ({"around": 1.5}, r"around: must lie between 0 and 1, got 1\.5"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(settings, line):
    with pytest.raises(UserError, match=line):
        FalseFact(**{"relation": "likes", "target": "e", **settings}).bind(SPLITS)
