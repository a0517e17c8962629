"""Every forge passes every one of these; a new forge is one line in FORGES."""

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from hauberk.attacks import FORGES, KNOWLEDGE, Collusion, Forge
from hauberk.attacks.knowledge import OWN_DATA, THE_RULE

FORGERS = [cls() for cls in FORGES.values()]
pytestmark = pytest.mark.parametrize("forge", FORGERS, ids=lambda forge: type(forge).__name__)


@pytest.fixture
def collusion():
    values = torch.randn(8, 30, generator=torch.Generator().manual_seed(0))
    return Collusion(values[:2], values[2:7], values[7], lambda rows: rows.mean(dim=0), round=3)


def test_each_colluder_gets_a_finite_row(forge, collusion, rng):
    rows = forge(collusion, rng())
    assert rows.shape == (2, 30)
    assert rows.dtype == torch.float32
    assert rows.isfinite().all()


def test_it_acts(forge, collusion, rng):
    assert not torch.equal(forge(collusion, rng()), collusion.own)


def test_what_was_given_is_left_alone(forge, collusion, rng):
    before = [part.clone() for part in (collusion.own, collusion.benign, collusion.parameters)]
    forge(collusion, rng()).fill_(1e6)
    after = (collusion.own, collusion.benign, collusion.parameters)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_same_generator_gives_the_same_rows(forge, collusion, rng):
    before = torch.get_rng_state()
    assert torch.equal(forge(collusion, rng()), forge(collusion, rng()))
    assert torch.equal(torch.get_rng_state(), before)


def test_it_uses_no_more_than_it_declares(forge, collusion, rng):
    assert forge.knowledge in KNOWLEDGE
    expected = forge(collusion, rng())
    if forge.knowledge != THE_RULE:
        assert torch.equal(forge(replace(collusion, aggregate=None), rng()), expected)
    if forge.knowledge == OWN_DATA:
        blind = replace(collusion, benign=torch.full((5, 30), torch.nan), aggregate=None)
        assert torch.equal(forge(blind, rng()), expected)


def test_it_is_a_value(forge):
    assert isinstance(forge, Forge)
    assert pickle.loads(pickle.dumps(forge)) == forge
    assert hash(forge) == hash(replace(forge))
    with pytest.raises(FrozenInstanceError):
        forge.knowledge = "all"
