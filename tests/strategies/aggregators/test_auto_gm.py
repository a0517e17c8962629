import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext, AutoGM
from hauberk.strategies.aggregators.auto_gm import water_filling
from tests.helpers.examples import examples


def brute(wide, factor):
    """The alternation on the rows themselves, to its end."""
    alpha = np.full(len(wide), 1 / len(wide))
    v, penalty = brute_median(wide, alpha, wide.mean(axis=0)), None
    for _ in range(2000):
        distances = np.linalg.norm(wide - v, axis=1)
        penalty = penalty or factor * len(wide) * np.median(distances)
        before, alpha = alpha, brute_simplex(-distances / penalty)
        if np.abs(alpha - before).max() <= 1e-9:
            return v, alpha, penalty
        v = brute_median(wide, alpha, v)
    raise AssertionError("the alternation has not come to its end")


def brute_median(wide, alpha, v):
    """The minimiser of sum_k alpha_k ||v - x_k||, from ``v``."""
    for _ in range(20_000):
        beta = alpha / np.maximum(np.linalg.norm(wide - v, axis=1), 1e-12)
        before, v = v, beta @ wide / beta.sum()
        if np.abs(v - before).max() <= 1e-11 * np.abs(v).max():
            return v
    raise AssertionError("the median has not come to its end")


def brute_simplex(point):
    """The nearest point of the simplex, by bisection."""
    low, high = point.min() - 1, point.max()
    for _ in range(60):
        level = (low + high) / 2
        low, high = (level, high) if np.maximum(point - level, 0).sum() > 1 else (low, level)
    return np.maximum(point - low, 0)


def test_water_filling_by_hand():
    # With lambda = 6 and distances 1 2 9: eta = (6 + 1 + 2) / 2 = 4.5 is below 9, so the third has nothing.
    distances = torch.tensor([1.0, 9.0, 2.0], dtype=torch.float64)
    assert water_filling(distances, 6).tolist() == pytest.approx([3.5 / 6, 0, 2.5 / 6])
    assert water_filling(distances, 1e9).tolist() == pytest.approx([1 / 3] * 3)
    assert water_filling(torch.tensor([0.0, 3.0, 0.0]), 0).tolist() == [0.5, 0, 0.5]


def test_on_a_line_by_hand():
    # The median of 0 1 2 3 50 is 2, the distances are 2 1 0 1 48, lambda = 5 * 1: eta = (5 + 4) / 4 leaves
    # out the last; of 0 1 2 3 with alphas .05 .25 .45 .25 the median is 2 again.
    updates = torch.tensor([[0.0], [1.0], [2.0], [3.0], [50.0]])
    result = AutoGM()(updates, context=AggregationContext(client_ids=(3, 4, 5, 6, 7)))
    assert result.update.tolist() == pytest.approx([2.0])
    assert list(result.report) == [f"auto_gm/alpha/{k}" for k in range(3, 8)]
    assert list(result.report.values()) == pytest.approx([0.05, 0.25, 0.45, 0.25, 0], abs=1e-6)


@given(
    st.integers(8, 14),  # fewer clients take the plain alternation hundreds of turns
    st.integers(20, 40),
    st.one_of(st.none(), st.floats(1, 4)),
    st.booleans(),
    st.integers(0, 2**32),
)
@example(8, 20, None, True, 211)  # takes more turns than a handful
def test_agrees_with_brute_force(n, d, factor, outlier, seed):
    updates = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    updates[0] *= 100 if outlier else 1
    expected, alpha, penalty = brute(updates.double().numpy(), factor or 1)
    result = AutoGM(penalty=factor and float(penalty))(updates)
    np.testing.assert_allclose(result.update, expected, rtol=0, atol=2e-5 * d**0.5)
    assert list(result.report.values()) == pytest.approx(alpha.tolist(), abs=2e-5)


@examples(15)
@given(st.integers(3, 12), st.integers(2, 5), st.integers(0, 2**32))
def test_the_end_is_a_fixed_point(n, d, seed):
    # With few dimensions the median may be a row; its own alpha then balances all the others.
    wide = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    result = AutoGM(penalty=4.0 * n)(wide)
    alpha = torch.tensor(list(result.report.values()), dtype=torch.float64)
    distances = (wide - result.update).norm(dim=1)
    assert alpha.numpy() == pytest.approx(brute_simplex(-distances.numpy() / (4 * n)), abs=1e-5)
    away = distances > 1e-4
    pull = (alpha[away] / distances[away]) @ (wide[away] - result.update)
    assert pull.norm() <= alpha[~away].sum() + 1e-4


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_huge_rows_count_for_nothing(scale):
    updates = torch.randn(10, 5000, generator=torch.Generator().manual_seed(0))
    updates[[4, 7]] *= scale
    rest = [row for row in range(10) if row not in (4, 7)]
    result = AutoGM()(updates)
    assert result.weight[4] == 0
    assert result.weight[7] == 0
    # Among the others all distances are alike, and so are the weights.
    assert (result.update - updates[rest].mean(dim=0)).norm() < 0.02 * result.update.norm()
    kept = result.weight[rest]
    torch.testing.assert_close(result.update, (kept @ updates[rest].double()).float(), rtol=1e-6, atol=1e-6)


def test_a_majority_that_agrees_is_what_comes_out():
    updates = torch.tensor([[1.0, 2.0]] * 4 + [[5.0, 0.0], [-8.0, 1.0]])
    torch.testing.assert_close(AutoGM()(updates).update, updates[0])


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"AutoGM\.penalty must be a number > 0, got 0"):
        AutoGM(penalty=0)


@pytest.mark.parametrize("scale", [1e8, 1e10, 1e30])
def test_a_huge_row_does_not_hide_a_smaller_outlier(scale):
    updates = torch.randn(10, 60, generator=torch.Generator().manual_seed(0))
    updates[7] *= 3
    alone = AutoGM()(updates[[row for row in range(10) if row != 4]])
    updates[4] *= scale
    beside = AutoGM(penalty=None)(updates)
    assert alone.weight[6] == beside.weight[7] == beside.weight[4] == 0
    near = torch.tensor([k for k in range(10) if k not in (4, 7)])
    assert (beside.weight[near] > 0).all()
