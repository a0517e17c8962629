import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import Median
from hauberk.strategies.aggregators.median import coordinate_median
from hauberk.strategies.kernels.sorting_networks import OrderStatistics, network


def test_an_even_number_takes_the_mean_of_the_two_middle_values():
    updates = torch.tensor([[1.0, 4.0], [2.0, -1.0], [10.0, 0.0], [3.0, 7.0]])
    assert Median()(updates).update.tolist() == [2.5, 2.0]


def test_an_odd_number_takes_the_middle_value():
    updates = torch.tensor([[1.0], [100.0], [3.0]])
    assert Median()(updates).update.tolist() == [3.0]
    assert Median()(updates).weight is None


@given(st.integers(1, 33), st.integers(1, 50), st.booleans(), st.integers(0, 2**32))
def test_agrees_with_numpy(n, d, ties, seed):
    updates = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    updates = updates.round() if ties else updates
    expected = np.median(updates.double().numpy(), axis=0)
    np.testing.assert_allclose(coordinate_median(updates).numpy(), expected, rtol=1e-6, atol=1e-30)


def test_many_slices_and_many_clients():
    updates = torch.randn(101, 70_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(coordinate_median(updates), updates.median(dim=0).values)


def test_the_mean_of_two_huge_values_is_finite():
    assert coordinate_median(torch.full((4, 2), 3e38)).isfinite().all()


@pytest.mark.parametrize("n", range(1, 12))
def test_a_network_sorts_every_sequence_of_zeros_and_ones(n):
    # The zero-one principle: a network that sorts all of these sorts everything.
    bits = torch.arange(2**n)[None, :] >> torch.arange(n)[:, None] & 1
    expected = bits.float().sort(dim=0).values
    ranks = tuple(range(n))
    found = OrderStatistics(n, ranks, expected, 2**n)(bits.float())
    assert torch.equal(torch.stack(found), expected)


@pytest.mark.parametrize("n", [5, 8, 13, 20])
def test_every_single_rank_can_be_asked_for(n):
    rows = torch.randn(n, 64, generator=torch.Generator().manual_seed(n))
    expected = rows.sort(dim=0).values
    for rank in range(n):
        statistics = OrderStatistics(n, (rank,), rows, 64)
        assert torch.equal(statistics(rows)[0], expected[rank])
        assert torch.equal(statistics(rows[:, :10])[0], expected[rank, :10])


def test_pruning_leaves_comparators_out():
    assert len(network(20, (9, 10))) == 84
    assert len(network(20, tuple(range(20)))) == 103
