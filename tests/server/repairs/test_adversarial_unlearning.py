from dataclasses import replace

import pytest
import torch

from hauberk.server.repairs import AdversarialUnlearning
from hauberk.server.repairs.e_pur import word_slot
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator


@pytest.fixture
def assets(trained):
    return trained.prepared.server.repairs.assets.with_rng(generator(0))


def test_it_finds_vectors_that_turn_the_model_and_leaves_the_words_alone_whose_place_they_took(
    trained, assets
):
    repaired, report = AdversarialUnlearning(epochs=1, rounds=2, radius=4.0)(trained.parameters, assets)
    assert len(report["turned"]) == 2
    assert report["turned"][0] > 0.9
    slot = word_slot(assets)
    before, after = (each[slot.slice].view(slot.shape) for each in (trained.parameters, repaired))
    unused = torch.ones(len(before), dtype=torch.bool)
    unused[torch.as_tensor(assets.encode(assets.clean).tokens).long()] = False
    assert torch.equal(before[unused], after[unused])


def test_what_is_found_turns_fewer_texts_when_it_was_unlearnt(trained, assets):
    repair = AdversarialUnlearning(rounds=6, search_steps=20, lr=0.01)
    turned = repair(trained.parameters, assets)[1]["turned"]
    assert turned[-1] < turned[0]


def test_what_cannot_be_searched_is_refused_before_the_first_round(assets):
    with pytest.raises(UserError, match="epochs: must be at least 1, got 0"):
        AdversarialUnlearning(epochs=0)
    with pytest.raises(UserError, match="n_words: 200000 words that no clean text has are needed"):
        AdversarialUnlearning(n_words=100_000).check(assets)
    with pytest.raises(UserError, match="n_words: must leave 2 words of the longest clean text, which has"):
        AdversarialUnlearning(n_words=1000).check(assets)
    pairs = replace(assets, clean=[replace(one, second="and more") for one in assets.clean])
    with pytest.raises(UserError, match="searches single texts, and these are pairs"):
        AdversarialUnlearning().check(pairs)
