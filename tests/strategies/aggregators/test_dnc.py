import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext
from hauberk.strategies.aggregators.dnc import DnC, outlier_scores, sample


def brute_scores(rows):
    centred = rows.double().numpy() - rows.double().numpy().mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return (centred @ directions[0]) ** 2


def test_a_hand_calculation():
    # On a line at 0, 1, 2, 3, 14 the mean is 4 and the direction the line itself.
    rows = torch.zeros(5, 3)
    rows[:, 1] = torch.tensor([0.0, 1.0, 2.0, 3.0, 14.0])
    assert outlier_scores(rows).tolist() == pytest.approx([16, 9, 4, 1, 100])
    result = DnC(n_malicious=1)(rows)
    assert result.weight.tolist() == [0.25, 0.25, 0.25, 0.25, 0]
    assert result.update.tolist() == [0, 1.5, 0]
    # c f = 2 drops the client at 0 as well; c f = 1.5 leaves int(5 - 1.5) = 3 too.
    for factor in (2.0, 1.5):
        assert DnC(n_malicious=1, filter_factor=factor)(rows).update.tolist() == [0, 2, 0]


@given(st.integers(0, 3), st.integers(1, 6), st.integers(1, 60), st.integers(1, 4), st.integers(0, 2**32))
def test_agrees_with_a_singular_value_decomposition(f, extra, d, n_iterations, seed):
    n, n_sampled = 2 * f + extra, max(1, d // 2)
    updates = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    rule = DnC(n_malicious=f, n_iterations=n_iterations, n_sampled=n_sampled)
    result = rule(updates, context=AggregationContext(rng=torch.Generator().manual_seed(5)))
    rng, passed, mean = torch.Generator().manual_seed(5), set(range(n)), np.zeros(n)
    for _ in range(n_iterations):
        scores = brute_scores(updates[:, sample(d, n_sampled, rng)])
        mean += scores / n_iterations
        passed &= set(np.argsort(scores, kind="stable")[: n - f].tolist())
    found = np.array(list(result.report.values()))
    np.testing.assert_allclose(found, mean, rtol=1e-6, atol=1e-9 * max(mean.max(), 1e-30))
    if n_sampled > 1 or f == 0:  # in one dimension scores may tie
        kept = sorted(passed) or [int(mean.argmin())]
        assert result.weight.nonzero().squeeze(1).tolist() == kept
        expected = updates.double()[kept].mean(dim=0)
        torch.testing.assert_close(result.update.double(), expected, rtol=2e-5, atol=1e-6)


def test_colluders_are_dropped():
    rng = torch.Generator().manual_seed(0)
    updates = torch.randn(12, 3000, generator=rng)
    updates[[1, 4, 9]] += 0.3 * torch.randn(3000, generator=rng).sign()
    result = DnC(n_malicious=3, n_sampled=1000)(updates)
    assert result.weight[[1, 4, 9]].tolist() == [0, 0, 0]


def test_where_everyone_stood_out_once_the_lowest_mean_score_counts_alone():
    # With one coordinate at a time two of three clients can be dropped by turns.
    updates = torch.tensor([[0.0, 5.0, 0.0], [0.0, 0.0, 5.0], [5.0, 0.0, 0.0]])
    rule = DnC(n_malicious=1, n_sampled=1, n_iterations=50)
    result = rule(updates)
    scores = torch.tensor(list(result.report.values()))
    assert result.weight.tolist() == (torch.arange(3) == scores.argmin()).double().tolist()


@pytest.mark.parametrize("scale", [1e10, 1e30, 1e38])
def test_a_huge_row_is_dropped(scale):
    updates = torch.randn(10, 400, generator=torch.Generator().manual_seed(0))
    updates[6] *= scale / 10
    result = DnC(n_malicious=2)(updates)
    assert result.weight[6] == 0
    kept = updates.double()[result.weight > 0]
    torch.testing.assert_close(result.update.double(), kept.mean(dim=0), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("n_params", "n_sampled"), [(1, 5), (10, 10), (10, 4), (100_000, 3000), (5000, 4999)]
)
def test_a_sample_has_different_columns_and_every_one_can_be_in_it(n_params, n_sampled):
    places = sample(n_params, n_sampled, torch.Generator().manual_seed(0))
    assert len(places) == min(n_params, n_sampled)
    assert torch.equal(places.unique(), places)
    assert places[0] >= 0
    assert places[-1] < n_params
    assert torch.equal(places, sample(n_params, n_sampled, torch.Generator().manual_seed(0)))


def test_every_column_is_as_likely_as_any_other():
    rng = torch.Generator().manual_seed(0)
    counts = torch.zeros(20)
    for _ in range(4000):
        counts[sample(20, 5, rng)] += 1
    assert counts.min() > 850
    assert counts.max() < 1150


def test_impossible_settings_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match="DnC needs 2f < n_clients, got f=3 and n_clients=6"):
        DnC(n_malicious=3)(torch.zeros(6, 3))
    with pytest.raises(ValueError, match="got filter_factor=3, f=2 and n_clients=6"):
        DnC(n_malicious=2, filter_factor=3)(torch.zeros(6, 3))
    with pytest.raises(ValueError, match="n_iterations must be a whole number >= 1, got 0"):
        DnC(n_malicious=1, n_iterations=0)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [1, 0, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]])
def test_who_ties_but_for_rounding_is_kept_by_id(order):
    updates = torch.tensor([[0.3], [-0.3], [0.1], [-0.1], [0.2], [-0.2]])
    result = DnC(n_malicious=1)(updates[order], context=AggregationContext(client_ids=tuple(order)))
    assert result.weight[order.index(1)] == 0
    assert result.update.item() == pytest.approx(0.06)
