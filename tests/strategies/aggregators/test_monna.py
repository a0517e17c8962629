import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext, MoNNA
from hauberk.strategies.aggregators.monna import medoid
from hauberk.strategies.base import needs_of
from hauberk.strategies.kernels.distances import squared_distances


def brute(updates, f, pivot=None):
    """The mean of the n - f rows nearest to a row, or to the medoid."""
    wide = updates.double().numpy()
    distances = np.linalg.norm(wide[:, None] - wide, axis=2)
    pivot = int(distances.sum(axis=1).argmin()) if pivot is None else pivot
    return wide[distances[pivot].argsort(kind="stable")[: len(wide) - f]].mean(axis=0)


def test_a_hand_calculation():
    # Sums of distances on 0 1 2 6 20: 29, 26, 25, 33, 89. The medoid is 2, its three nearest 0 1 2.
    updates = torch.tensor([[0.0], [1.0], [2.0], [6.0], [20.0]])
    result = MoNNA(n_malicious=2)(updates)
    assert result.update.tolist() == [1.0]
    assert result.weight.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])
    assert result.report == {"monna/radius": pytest.approx(2.0)}


def test_what_byzfl_returns_for_its_own_example():
    updates = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert MoNNA(n_malicious=1, pivot=0)(updates).update.tolist() == [2.5, 3.5, 4.5]


def test_the_pivot_is_a_client_and_not_a_row():
    updates = torch.tensor([[0.0], [1.0], [2.0], [6.0], [20.0]])
    result = MoNNA(n_malicious=2, pivot=9)(updates, context=AggregationContext(client_ids=(5, 6, 7, 8, 9)))
    assert result.update.tolist() == pytest.approx([28 / 3])
    with pytest.raises(ValueError, match=r"MoNNA\.pivot must be one of the 5 client ids, got 9\."):
        MoNNA(n_malicious=2, pivot=9)(updates)


def test_the_servers_own_update_is_the_pivot_where_it_is_asked_for_and_nowhere_else():
    updates = torch.tensor([[0.0], [1.0], [2.0], [6.0], [20.0]])
    known = AggregationContext(root_update=torch.tensor([7.0]))
    result = MoNNA(n_malicious=2, pivot="root")(updates, context=known)
    assert result.update.tolist() == pytest.approx([3.0])
    assert result.weight.nonzero().squeeze(1).tolist() == [1, 2, 3]
    for pivot in ("medoid", 0):  # a root update that is there for others changes nothing
        assert MoNNA(n_malicious=2, pivot=pivot)(updates, context=known).update.tolist() == [1.0]
    assert MoNNA(n_malicious=2) == MoNNA(n_malicious=2, pivot="medoid")
    assert needs_of(MoNNA(n_malicious=2, pivot="root")) == {"root_update"}
    assert not needs_of(MoNNA(n_malicious=2))
    with pytest.raises(ValueError, match="MoNNA needs root_update"):
        MoNNA(n_malicious=2, pivot="root")(updates)


@given(st.integers(0, 4), st.integers(1, 6), st.integers(2, 40), st.booleans(), st.integers(0, 2**32))
def test_agrees_with_brute_force(f, extra, d, named, seed):
    updates = torch.randn(2 * f + extra, d, generator=torch.Generator().manual_seed(seed))
    pivot = seed % len(updates) if named else None
    found = MoNNA(n_malicious=f, pivot=pivot if named else "medoid")(updates).update
    np.testing.assert_allclose(found, brute(updates, f, pivot), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("pivot", ["medoid", 0])
@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_one_huge_row_does_not_hide_the_other_attacker(pivot, scale):
    rng = torch.Generator().manual_seed(3)
    updates = torch.randn(10, 20_000, generator=rng)
    updates[4] *= scale
    updates[7] += 0.5 * torch.randn(20_000, generator=rng)
    result = MoNNA(n_malicious=2, pivot=pivot)(updates)
    kept = result.weight > 0
    assert kept.tolist() == [row not in (4, 7) for row in range(10)]
    torch.testing.assert_close(result.update, updates[kept].mean(dim=0), rtol=1e-6, atol=1e-6)


def test_huge_rows_do_not_decide_who_is_the_medoid():
    updates = torch.randn(9, 50, generator=torch.Generator().manual_seed(0))
    by_id = torch.arange(9)
    alone = medoid(squared_distances(updates[:6]).sqrt(), by_id[:6], 5)
    for scale in (1e9, 1e20, 1e30):
        updates[6:] *= scale / updates[6:].abs().max()
        assert medoid(squared_distances(updates).sqrt(), by_id, 6) == alone


def test_a_tie_for_the_medoid_goes_to_the_denser_one_and_then_to_the_lowest_client_id():
    updates = torch.tensor([[0.0], [1.0], [11.0], [13.0]])  # on a line the two in the middle tie
    assert medoid(squared_distances(updates).sqrt(), torch.arange(4), 2) == 1
    even = torch.tensor([[0.0], [1.0], [11.0], [12.0]])
    assert medoid(squared_distances(even).sqrt(), torch.arange(4), 2) == 1
    assert medoid(squared_distances(even).sqrt(), torch.tensor([2, 3, 0, 1]), 2) == 2


def test_a_group_that_agrees_holds_the_medoid():
    updates = torch.tensor([[9.0], [1.0], [1.0], [1.0], [-1e30]])
    assert medoid(squared_distances(updates).sqrt(), torch.arange(5), 3) == 1
    assert MoNNA(n_malicious=2)(updates).update.tolist() == [1.0]


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"^MoNNA needs 2f < n_clients, got f=2 and n_clients=4\.$"):
        MoNNA(n_malicious=2)(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"MoNNA\.pivot must be a whole number >= 0, got -1"):
        MoNNA(n_malicious=1, pivot=-1)
    with pytest.raises(
        ValueError, match=r"MoNNA\.pivot must be 'medoid', 'root' or a client id, got 'centre'"
    ):
        MoNNA(n_malicious=1, pivot="centre")
