import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext
from hauberk.strategies.aggregators.multi_metrics import MultiMetrics, features, squared_mahalanobis
from hauberk.strategies.kernels.manhattan import manhattan_distances


def test_a_hand_calculation():
    # The models (3, 4), (4, 3) and (6, 8): cosines .96, 1, .96; lengths 5, 5, 10.
    updates, origin = torch.tensor([[2.0, 3.0], [3.0, 2.0], [5.0, 7.0]]), torch.ones(2)
    found = features(updates, origin)
    expected = [[0.04**2, 2 + 7, 5], [2 * 0.04**2, 2 + 7, 5], [0.04**2, 7 + 7, 10]]
    assert found.tolist() == [pytest.approx(row, rel=1e-9) for row in expected]


def test_the_share_with_the_lowest_scores_is_averaged():
    rng = torch.Generator().manual_seed(0)
    updates = 0.01 * torch.randn(10, 50, generator=rng)
    updates[0] += torch.linspace(-1, 1, 50)
    result = MultiMetrics(p=0.5)(updates, context=AggregationContext(parameters=torch.ones(50)))
    scores = torch.tensor([result.report[f"multi_metrics/score/{client}"] for client in range(10)])
    assert set(result.weight.nonzero().flatten().tolist()) == set(scores.argsort()[:5].tolist())
    assert result.weight[0] == 0
    torch.testing.assert_close(result.update, updates[result.weight > 0].mean(dim=0))


def test_whoever_is_alone_is_believed():
    updates = torch.tensor([[1.0, 2.0]])
    result = MultiMetrics()(updates, context=AggregationContext(parameters=torch.ones(2)))
    assert result.update.tolist() == [1, 2]


@given(st.integers(2, 9), st.integers(1, 60), st.integers(0, 2**32))
def test_the_features_agree_with_the_steps_of_the_code_in_float64(n, d, seed):
    rng = torch.Generator().manual_seed(seed)
    updates, origin = torch.randn(n, d, generator=rng), torch.randn(d, generator=rng)
    models = (updates.double() + origin.double()).numpy()
    expected = np.zeros((n, 3))
    for i, one in enumerate(models):
        for j, other in enumerate(models):
            if i != j:
                lengths = np.linalg.norm(one), np.linalg.norm(other)
                expected[i] += (
                    (1 - one @ other / np.prod(lengths)) ** 2,
                    np.abs(one - other).sum(),
                    abs(lengths[0] - lengths[1]),
                )
    np.testing.assert_allclose(features(updates, origin).numpy(), expected, rtol=1e-7, atol=1e-9)


@given(st.integers(5, 30), st.integers(0, 2**32))
def test_the_score_is_that_of_the_inverse_whatever_the_units(n, seed):
    rng = torch.Generator().manual_seed(seed)
    values = torch.randn(n, 3, generator=rng).double() + 5
    expected = np.einsum("ni,ij,nj->n", values, np.linalg.inv(np.cov(values.numpy().T)), values)
    units = torch.tensor([1e-18, 1.0, 1e6]).double()
    np.testing.assert_allclose(squared_mahalanobis(values * units).numpy(), expected, rtol=1e-6)


@given(st.integers(1, 7), st.integers(1, 200), st.integers(0, 2**32))
def test_manhattan_distances_are_exact(n, d, seed):
    updates = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    expected = (updates.double()[:, None] - updates.double()).abs().sum(dim=2)
    torch.testing.assert_close(manhattan_distances(updates), expected, rtol=1e-12, atol=0)


def test_an_impossible_share_is_refused():
    for share in (0, 1.5):
        with pytest.raises(ValueError, match="p must be"):
            MultiMetrics(p=share)
