import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext, Bulyan
from hauberk.strategies.aggregators.bulyan import picks
from hauberk.strategies.kernels.distances import squared_distances


def closest(picked, n_kept, median):
    nearest = np.abs(picked - median).argsort(axis=0, kind="stable")[:n_kept]
    return np.take_along_axis(picked, nearest, axis=0).mean(axis=0)


def brute(updates, f):
    """Krum from scratch for each pick, as it is written down."""
    wide = updates.double().numpy()
    left, picked = list(range(len(wide))), []
    while len(picked) < len(wide) - 2 * f:
        scores = []
        for i in left:
            others = sorted(((wide[i] - wide[j]) ** 2).sum() for j in left if j != i)
            scores.append(sum(others[: max(1, len(left) - f - 2)]))
        picked.append(left.pop(int(np.argmin(scores))))
    rows = wide[picked]
    return sorted(picked), closest(rows, len(rows) - 2 * f, np.median(rows, axis=0))


def brute_garfield(updates, f):
    wide = updates.double().numpy()
    n = len(wide)
    distances = np.linalg.norm(wide[:, None] - wide, axis=2)
    scores = [sum(sorted(np.delete(distances[i], i))[: n - f - 2]) for i in range(n)]
    order = np.argsort(scores, kind="stable")
    rows = np.stack([wide[order[i : n - f - 2]].mean(axis=0) for i in range(n - 2 * f - 2)])
    lower = np.sort(rows, axis=0)[(len(rows) - 1) // 2]
    return closest(rows, len(rows) - 2 * f, lower)


def test_a_hand_calculation():
    # f=1: on a line at 0 1 2 3.5 5 9 100 the five picks count 4, 3, 2, 1 and at least 1 neighbour:
    # 2 (1 + 2.25 + 4 + 9), 3.5 (2.25 + 6.25 + 12.25), 1 (1 + 16), 5 (16, a tie with 9), 0 (81, again with 9).
    updates = torch.tensor([[0.0], [1.0], [2.0], [3.5], [5.0], [9.0], [100.0]])
    assert picks(squared_distances(updates), 1) == [2, 3, 1, 4, 0]
    result = Bulyan(n_malicious=1)(updates)
    # Of 0 1 2 3.5 5 the three closest to 2 are 1, 2 and 3.5.
    assert result.update.tolist() == pytest.approx([6.5 / 3])
    assert result.weight.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.2, 0, 0])


def test_without_malicious_clients_it_is_the_mean():
    updates = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Bulyan(n_malicious=0)(updates).update, updates.mean(dim=0))


@given(st.integers(0, 3), st.integers(0, 5), st.integers(1, 40), st.integers(0, 2**32))
def test_agrees_with_brute_force(f, extra, d, seed):
    updates = torch.randn(4 * f + 3 + extra, d, generator=torch.Generator().manual_seed(seed))
    picked, expected = brute(updates, f)
    result = Bulyan(n_malicious=f)(updates)
    assert result.weight.nonzero().squeeze(1).tolist() == picked
    np.testing.assert_allclose(result.update, expected, rtol=2e-5, atol=1e-6)


@given(st.integers(1, 3), st.integers(0, 5), st.integers(1, 40), st.integers(0, 2**32))
def test_garfield_agrees_with_brute_force(f, extra, d, seed):
    updates = torch.randn(4 * f + 3 + extra, d, generator=torch.Generator().manual_seed(seed))
    found = Bulyan(n_malicious=f, convention="garfield")(updates).update
    np.testing.assert_allclose(found, brute_garfield(updates, f), rtol=2e-5, atol=2e-6)


def test_a_tie_goes_to_the_lowest_client_id():
    # With f=1 the last two picks have one neighbour: 10 and 11 tie at 1, whoever of them comes first.
    updates = torch.tensor([[0.0], [0.5], [1.0], [1.5], [10.0], [11.0], [60.0]])
    for order in (range(7), (6, 5, 4, 3, 2, 1, 0)):
        context = AggregationContext(client_ids=tuple(order))
        result = Bulyan(n_malicious=1)(updates[list(order)], context=context)
        assert [order[row] for row in result.weight.nonzero().squeeze(1).tolist()].count(4) == 1
        assert result.weight[list(order).index(5)] == 0


@pytest.mark.parametrize("convention", ["paper", "garfield"])
@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_one_huge_row_does_not_hide_the_other_attacker(convention, scale):
    rng = torch.Generator().manual_seed(3)
    updates = torch.randn(11, 20_000, generator=rng)
    updates[4] *= scale
    updates[7] += 0.5 * torch.randn(20_000, generator=rng)
    result = Bulyan(n_malicious=2, convention=convention)(updates)
    assert result.weight[4] == 0
    assert result.weight[7] == 0
    rest = [row for row in range(11) if row != 4]
    updates[4] = updates[7] * 5  # an attacker of modest size is left out just the same
    modest = Bulyan(n_malicious=2, convention=convention)(updates)
    assert modest.weight[rest].tolist() == result.weight[rest].tolist()
    torch.testing.assert_close(result.update, modest.update, rtol=1e-6, atol=1e-6)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"^Bulyan needs n_clients >= 4f \+ 3, got f=2 and n_clients=10\.$"):
        Bulyan(n_malicious=2)(torch.zeros(10, 3))
    with pytest.raises(ValueError, match=r"convention must be one of .*, got 'lpd'"):
        Bulyan(n_malicious=2, convention="lpd")
