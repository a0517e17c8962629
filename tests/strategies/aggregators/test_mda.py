from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import MDA, NNM, AggregationContext, chain
from hauberk.strategies.aggregators.mda import closest_subset
from tests.helpers.examples import examples


def brute(updates, n_kept):
    """Every subset, in order; the first of least diameter."""
    wide = updates.double().numpy()
    distances = ((wide[:, None] - wide) ** 2).sum(axis=2)
    return min(combinations(range(len(wide)), n_kept), key=lambda s: distances[np.ix_(s, s)].max())


def test_a_hand_calculation():
    # 0 1 5 6 8: of three, 5 6 8 span 3 and 0 1 5 span 5.
    updates = torch.tensor([[0.0], [1.0], [5.0], [6.0], [8.0]])
    result = MDA(n_malicious=2)(updates)
    assert result.weight.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3])
    assert result.update.tolist() == pytest.approx([19 / 3])
    assert result.report == {"mda/diameter": pytest.approx(3.0)}


def test_what_byzfl_returns_for_its_own_example():
    updates = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert MDA(n_malicious=1)(updates).update.tolist() == [2.5, 3.5, 4.5]


@given(st.integers(0, 4), st.integers(1, 3), st.integers(1, 6), st.booleans(), st.integers(0, 2**32))
def test_agrees_with_all_subsets(f, extra, d, ties, seed):
    updates = torch.randn(2 * f + extra, d, generator=torch.Generator().manual_seed(seed))
    updates = updates.round() if ties else updates
    expected = list(brute(updates, len(updates) - f))
    result = MDA(n_malicious=f)(updates)
    assert result.weight.nonzero().squeeze(1).tolist() == expected
    mean = updates.double()[expected].mean(dim=0)
    torch.testing.assert_close(result.update.double(), mean, rtol=2e-5, atol=1e-6)


@examples(20)
@given(st.integers(1, 9), st.integers(0, 8), st.integers(0, 2**32))
def test_any_number_can_be_kept(n_kept, extra, seed):
    rows = torch.randn(n_kept + extra, 2, generator=torch.Generator().manual_seed(seed)).double()
    distances = (rows[:, None] - rows).square().sum(dim=2)
    assert closest_subset(distances, n_kept) == list(brute(rows, n_kept))


def test_many_clients_need_no_list_of_all_subsets():
    # Of 60 clients 20 are far from all others and from each other: there are 4e15 subsets of 40.
    rng = torch.Generator().manual_seed(0)
    updates = torch.randn(60, 50, generator=rng)
    liars = torch.randperm(60, generator=rng)[:20]
    updates[liars] *= 3
    kept = MDA(n_malicious=20)(updates).weight > 0
    assert not kept[liars].any()


def test_two_hundred_clients_are_searched_in_no_time():
    # No row is far from all others, and there are 4e42 subsets.
    rows = torch.randn(200, 30, generator=torch.Generator().manual_seed(0)).double()
    distances = torch.cdist(rows, rows).fill_diagonal_(0)
    kept = closest_subset(distances, 160)
    greedy = list(range(200))
    while len(greedy) > 160:  # whoever is far from most of the others goes
        greedy.pop(int(distances[greedy][:, greedy].mean(dim=1).argmax()))
    assert len(kept) == 160
    assert distances[kept][:, kept].max() < distances[greedy][:, greedy].max()


def test_more_liars_than_can_be_searched_for_are_refused():
    with pytest.raises(ValueError, match=r"^MDA needs f <= 50, got f=51: "):
        MDA(n_malicious=51)


def test_a_shared_diameter_goes_to_the_lowest_client_ids():
    updates = torch.tensor([[0.0, 0.0], [4.0, 0.0], [2.0, 1.0], [2.0, -1.0]])  # without the first or second
    assert MDA(n_malicious=1)(updates).weight[1] == 0
    result = MDA(n_malicious=1)(updates, context=AggregationContext(client_ids=(7, 5, 9, 8)))
    assert result.weight[0] == 0


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_one_huge_row_does_not_hide_the_other_attacker(scale):
    rng = torch.Generator().manual_seed(3)
    updates = torch.randn(10, 20_000, generator=rng)
    updates[4] *= scale
    updates[7] += 0.5 * torch.randn(20_000, generator=rng)
    result = MDA(n_malicious=2)(updates)
    kept = result.weight > 0
    assert kept.tolist() == [row not in (4, 7) for row in range(10)]
    torch.testing.assert_close(result.update, updates[kept].mean(dim=0), rtol=1e-6, atol=1e-6)


def test_rounding_does_not_settle_ties_after_mixing():
    updates = torch.randn(11, 40, generator=torch.Generator().manual_seed(0))
    rule = chain(NNM(n_malicious=2), MDA(n_malicious=2))
    order = [3, 0, 5, 1, 4, 2, 10, 9, 8, 7, 6]
    straight = rule(updates, context=AggregationContext(client_ids=tuple(range(11))))
    shuffled = rule(updates[order], context=AggregationContext(client_ids=tuple(order)))
    torch.testing.assert_close(shuffled.update, straight.update)


def test_too_few_clients_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"^MDA needs 2f < n_clients, got f=3 and n_clients=6\.$"):
        MDA(n_malicious=3)(torch.zeros(6, 3))
