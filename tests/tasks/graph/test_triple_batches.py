"""Batches hold each triple once, one half corrupted at the head and one at the tail, within the entities given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.batches import batches
from hauberk.tasks.seeds import generator

OWN = np.array([2, 5, 7, 8])  # entities of this client, of more
TRIPLES = np.array([(2, 0, 5), (5, 1, 7), (7, 0, 8), (8, 1, 2), (2, 1, 7)])


def test_every_triple_comes_once_and_its_corruptions_differ_at_one_side_within_the_own_entities():
    found = list(batches(TRIPLES, 3, 10, OWN, generator(0, "order")))
    triples = torch.cat([batch.triples for batch in found])
    assert sorted(map(tuple, triples.tolist())) == sorted(map(tuple, TRIPLES.tolist()))
    assert sum(len(batch.heads) for batch in found) == 3
    for batch in found:
        n = len(batch.heads)
        assert n + len(batch.tails) == len(batch)
        assert (batch.heads != batch.triples[:n, :1]).all()
        assert (batch.tails != batch.triples[n:, 2:]).all()
        assert set(torch.cat([batch.heads.ravel(), batch.tails.ravel()]).tolist()) <= set(OWN.tolist())


def test_a_seed_gives_the_same_and_the_global_generator_stays_as_it_was():
    before = torch.get_rng_state()
    one, other, third = (next(batches(TRIPLES, 5, 4, OWN, generator(seed, "order"))) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.heads, other.heads)
    assert not torch.equal(one.heads, third.heads)


def test_one_entity_alone_cannot_be_corrupted():
    with pytest.raises(UserError, match="triples of 1 entity cannot be corrupted"):
        next(batches(np.array([(2, 0, 2)]), 1, 1, np.array([2]), None))
