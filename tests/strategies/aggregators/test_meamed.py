import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import Meamed
from hauberk.strategies.kernels.mean_around_median import mean_of_closest


def brute(updates, n_kept):
    wide = updates.double().numpy()
    nearest = np.abs(wide - np.median(wide, axis=0)).argsort(axis=0, kind="stable")[:n_kept]
    return np.take_along_axis(wide, nearest, axis=0).mean(axis=0)


def test_a_hand_calculation():
    # Medians 4, 0: of 1 2 4 5 100 the two at 1 and 100 go, of -9 -1 0 3 4 those at -9 and 4.
    updates = torch.tensor([[1.0, 0.0], [2.0, -9.0], [5.0, 3.0], [4.0, 4.0], [100.0, -1.0]])
    assert Meamed(n_malicious=2)(updates).update.tolist() == pytest.approx([11 / 3, 2 / 3])
    assert Meamed(n_malicious=0)(updates).update.tolist() == pytest.approx([112 / 5, -3 / 5])


def test_of_two_equally_far_the_smaller_one_is_kept():
    assert Meamed(n_malicious=1)(torch.tensor([[0.0], [2.0], [4.0]])).update.tolist() == [1.0]


def test_the_lower_median_is_another_centre():
    updates = torch.tensor([[0.0], [3.0], [5.0], [7.5]])
    assert mean_of_closest(updates, 3).tolist() == pytest.approx([15.5 / 3])
    assert mean_of_closest(updates, 3, lower_median=True).tolist() == pytest.approx([8 / 3])


@given(st.integers(0, 6), st.integers(1, 8), st.integers(1, 40), st.integers(0, 2**32))
def test_agrees_with_brute_force(f, extra, d, seed):
    updates = torch.randn(2 * f + extra, d, generator=torch.Generator().manual_seed(seed))
    found = Meamed(n_malicious=f)(updates).update
    np.testing.assert_allclose(found, brute(updates, len(updates) - f), rtol=2e-5, atol=1e-6)


@given(st.integers(2, 16), st.floats(0, 1), st.integers(0, 2**32))
def test_any_number_of_values_can_be_kept(n, share, seed):
    # One of an even number is left out: the two middle values are equally far by themselves.
    n_kept = max(1 + (n % 2 == 0), round(share * n))
    updates = torch.randn(n, 20, generator=torch.Generator().manual_seed(seed)).mul(2).exp()
    np.testing.assert_allclose(mean_of_closest(updates, n_kept), brute(updates, n_kept), rtol=2e-5)


@pytest.mark.parametrize("scale", [1e10, 1e30, 3e38])
def test_f_huge_rows_leave_the_rest_to_1e_6(scale):
    updates = torch.randn(10, 1000, generator=torch.Generator().manual_seed(0))
    updates[[2, 5]] = scale
    updates[7] -= scale
    expected = brute(updates, 7)
    np.testing.assert_allclose(Meamed(n_malicious=3)(updates).update, expected, rtol=1e-6, atol=1e-6)


def test_too_few_clients_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"^Meamed needs 2f < n_clients, got f=2 and n_clients=4\.$"):
        Meamed(n_malicious=2)(torch.zeros(4, 3))
