"""Every forge passes every one of these; a new forge is one line in FORGES."""

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from hauberk.attacks import FORGES, KNOWLEDGE, Collusion, Forge
from hauberk.attacks.threat_model import OWN_DATA, THE_RULE
from hauberk.strategies.kernels.chunks import SLICE

FORGERS = [cls() for cls in FORGES.values()]
DRAWS = {"fang_trim", "gaussian"}
DESTROYS = {
    "fang_krum",
    "fang_trim",
    "ipm",
    "min_max",
    "min_sum",
    "optimised_alie",
    "optimised_ipm",
    "sign_flip",
}
pytestmark = pytest.mark.parametrize("forge", FORGERS, ids=lambda forge: type(forge).__name__)


def name_of(forge):
    return next(name for name, cls in FORGES.items() if cls is type(forge))


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


def test_only_what_says_so_draws(forge, collusion, rng):
    other = forge(collusion, torch.Generator().manual_seed(8))
    assert torch.equal(forge(collusion, rng()), other) == (name_of(forge) not in DRAWS)


def test_four_of_ten_that_mean_to_destroy_and_no_others_turn_most_of_the_mean_away(forge, rng):
    rows = torch.randn(10, 200, generator=torch.Generator().manual_seed(1)) + 0.5
    honest = rows[4:].mean(dim=0)
    forged = forge(Collusion(rows[:4], rows[4:], rows[0], lambda rows: rows.mean(dim=0)), rng())
    kept = float(torch.cat([forged, rows[4:]]).mean(dim=0) @ honest / (honest @ honest))
    assert (kept < 0.5) == (name_of(forge) in DESTROYS)


def test_columns_may_come_in_any_order_and_number(forge, rng):
    values = torch.randn(7, SLICE + 100, generator=torch.Generator().manual_seed(2))
    values[0, ::9] += 4
    order = torch.randperm(SLICE + 100, generator=torch.Generator().manual_seed(3))
    mixed = values[:, order]
    found, moved = (
        forge(Collusion(x[:2], x[2:], x[2], lambda rows: rows.mean(dim=0)), rng()) for x in (values, mixed)
    )
    assert found.isfinite().all()
    if name_of(forge) not in DRAWS:
        torch.testing.assert_close(moved, found[:, order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("m", "n_benign"), [(1, 1), (1, 2), (4, 1), (3, 2)])
def test_any_number_of_clients_will_do(forge, m, n_benign, rng):
    rows = torch.randn(m + n_benign, 20, generator=torch.Generator().manual_seed(4))
    forged = forge(Collusion(rows[:m], rows[m:], rows[0], lambda rows: rows.mean(dim=0)), rng())
    assert forged.shape == (m, 20)
    assert forged.isfinite().all()


def test_it_is_a_value(forge):
    assert isinstance(forge, Forge)
    assert pickle.loads(pickle.dumps(forge)) == forge
    assert hash(forge) == hash(replace(forge))
    with pytest.raises(FrozenInstanceError):
        forge.knowledge = "all"
