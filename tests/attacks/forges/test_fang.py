"""Fang's attacks on Krum and on rules that work coordinate by coordinate."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.attacks import Collusion, FangKrum, FangTrim
from hauberk.strategies import Krum, Median
from hauberk.tasks.errors import UserError


def collusion(m, n, seed=0, d=60, shift=0.5):
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + shift
    return Collusion(rows[:m], rows[m:], rows[0])


@pytest.mark.parametrize("n", [7, 10])
def test_krum_chooses_what_points_against_the_honest_signs(n):
    given_ = collusion(2, n)
    rows = FangKrum()(given_, torch.Generator())
    assert torch.equal(rows[0], rows[1])
    signs = given_.benign.mean(dim=0).sign()
    assert torch.equal(rows[0].sign(), -signs)
    assert float(rows[0].abs().std()) == pytest.approx(0, abs=1e-6)
    weight = Krum(n_malicious=2)(torch.cat([rows, given_.benign])).weight
    assert int(weight.argmax()) < 2


def test_twice_the_strength_is_seen_through():
    given_ = collusion(2, 10)
    rows = FangKrum()(given_, torch.Generator())
    weight = Krum(n_malicious=2)(torch.cat([2 * rows, given_.benign])).weight
    assert int(weight.argmax()) >= 2


@given(m=st.integers(1, 6), n_benign=st.integers(1, 6), seed=st.integers(0, 99))
def test_any_number_of_clients_will_do(m, n_benign, seed):
    rows = FangKrum()(collusion(m, m + n_benign, seed), torch.Generator())
    assert rows.isfinite().all()
    assert rows.abs().max() > 0


def test_trim_lies_outside_the_honest_values_on_the_other_side():
    given_ = collusion(3, 10, shift=0.2)
    rows = FangTrim()(given_, torch.Generator().manual_seed(0))
    low, high = given_.benign.aminmax(dim=0)
    rises = given_.benign.mean(dim=0) > 0
    assert torch.where(rises, rows <= low, rows >= high).all()
    reach = torch.where(rises, rows - low, rows - high).abs()
    assert (reach <= torch.where(rises, low, high).abs() + 1e-6).all()
    assert rows.unique(dim=0).shape[0] == 3


@pytest.mark.parametrize(
    ("benign", "low", "high"),
    [([1.0, 2.0], 0.5, 1.0), ([-1.0, 3.0], -2.0, -1.0), ([-2.0, -1.0], -1.0, -0.5), ([-3.0, 1.0], 1.0, 2.0)],
)
def test_trim_in_each_of_its_four_cases(benign, low, high):
    given_ = Collusion(torch.zeros(200, 1), torch.tensor(benign)[:, None], torch.zeros(1))
    rows = FangTrim(b=2.0)(given_, torch.Generator().manual_seed(0))
    assert low <= rows.min() < low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) < rows.max() <= high


def test_trim_drags_the_median_to_the_edge():
    given_ = collusion(4, 10)
    median = Median()
    honest = median(given_.benign).update.mean()
    attacked = median(torch.cat([FangTrim()(given_, torch.Generator().manual_seed(0)), given_.benign])).update
    assert attacked.mean() < honest - 0.4


@pytest.mark.parametrize(("cls", "key", "value"), [(FangKrum, "least", 0.0), (FangTrim, "b", 1.0)])
def test_impossible_settings_are_refused(cls, key, value):
    with pytest.raises(UserError, match=f"^{key}: must be above"):
        cls(**{key: value})
