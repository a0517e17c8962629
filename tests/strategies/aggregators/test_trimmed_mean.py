import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import TrimmedMean
from hauberk.strategies.kernels.sorting_networks import OrderStatistics, network


def test_a_hand_calculation():
    updates = torch.tensor([[1.0, 9.0], [2.0, -5.0], [100.0, 3.0], [6.0, 4.0]])
    assert TrimmedMean(n_malicious=1)(updates).update.tolist() == [4.0, 3.5]
    assert TrimmedMean(n_malicious=0)(updates).update.tolist() == [27.25, 2.75]
    assert TrimmedMean(n_malicious=1)(updates).weight is None


@given(st.integers(0, 6), st.integers(1, 12), st.integers(1, 40), st.booleans(), st.integers(0, 2**32))
def test_agrees_with_sorting_in_float64(f, extra, d, ties, seed):
    n = 2 * f + extra
    updates = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).mul(2).exp()
    updates = updates.round() if ties else updates
    expected = np.sort(updates.double().numpy(), axis=0)[f : n - f].mean(axis=0)
    np.testing.assert_allclose(TrimmedMean(n_malicious=f)(updates).update, expected, rtol=2e-6)


@pytest.mark.parametrize("scale", [1e10, 1e30, 3e38])
def test_f_huge_rows_leave_the_rest_to_1e_6(scale):
    updates = torch.randn(10, 1000, generator=torch.Generator().manual_seed(0))
    updates[[2, 5]] = scale
    updates[7] -= scale
    rest = updates.double().sort(dim=0).values[3:7].mean(dim=0)
    torch.testing.assert_close(
        TrimmedMean(n_malicious=3)(updates).update.double(), rest, rtol=1e-6, atol=1e-6
    )


def test_the_mean_of_huge_values_is_finite():
    assert TrimmedMean(n_malicious=1)(torch.full((5, 2), 3e38)).update.isfinite().all()


@pytest.mark.parametrize("n", range(3, 11))
def test_a_bag_holds_the_values_between_two_ranks_in_any_order(n):
    bits = (torch.arange(2**n)[None, :] >> torch.arange(n)[:, None] & 1).float()
    expected = bits.sort(dim=0).values
    for f in range(1, (n + 1) // 2):
        found = OrderStatistics(n, (0,), bits, 2**n, bag=range(f, n - f))(bits)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(torch.stack(found[1:]).sort(dim=0).values, expected[f : n - f])


def test_a_bag_needs_fewer_comparators():
    ranks = tuple(range(1, 19))
    assert len(network(20, (), ranks)) == 64
    assert len(network(20, ranks)) == 103
    assert network(20, (), tuple(range(20))) == ()


def test_too_few_clients_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"^TrimmedMean needs 2f < n_clients, got f=2 and n_clients=4\.$"):
        TrimmedMean(n_malicious=2)(torch.zeros(4, 3))
