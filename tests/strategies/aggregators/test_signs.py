import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import RobustLearningRate, SignMajority

UPDATES = torch.tensor([[1.0, -1.0, 2.0], [3.0, 5.0, 0.0], [2.0, -4.0, 0.0], [-2.0, -4.0, 0.0]])


def random_rows(n, d, seed):
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    rows[:, ::3] = rows[:, ::3].round()  # some are 0, and have no sign
    return rows


def test_a_robust_learning_rate_by_hand():
    # Sums of signs: 3 - 1 = 2, 1 - 3 = -2 and 1.
    result = RobustLearningRate(threshold=2)(UPDATES)
    assert result.update.tolist() == [1.0, -1.0, -0.5]
    assert result.report["robust_learning_rate/flipped"] == pytest.approx(1 / 3)
    assert result.weight is None
    assert RobustLearningRate(threshold=3)(UPDATES).update.tolist() == [-1.0, 1.0, -0.5]
    assert RobustLearningRate(threshold=0)(UPDATES).update.tolist() == [1.0, -1.0, 0.5]


def test_a_majority_of_signs_by_hand():
    updates = torch.cat([UPDATES, torch.tensor([[0.0, 1.0, -1.0]])])
    assert SignMajority(step=0.5)(updates).update.tolist() == [0.5, -0.5, 0.0]
    assert SignMajority()(UPDATES).update.tolist() == pytest.approx([1e-3, -1e-3, 1e-3])


@given(st.integers(1, 15), st.integers(1, 40), st.integers(0, 15), st.integers(0, 2**32))
def test_a_robust_learning_rate_agrees_with_brute_force(n, d, threshold, seed):
    updates, threshold = random_rows(n, d, seed), min(n, threshold)
    wide = updates.double().numpy()
    agreed = np.abs(np.sign(wide).sum(axis=0)) >= threshold
    expected = np.where(agreed, 1, -1) * wide.mean(axis=0)
    found = RobustLearningRate(threshold=threshold)(updates).update
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


@given(st.integers(1, 15), st.integers(1, 40), st.floats(1e-6, 10), st.integers(0, 2**32))
def test_a_majority_of_signs_agrees_with_brute_force(n, d, step, seed):
    updates = random_rows(n, d, seed)
    expected = step * np.sign(np.sign(updates.double().numpy()).sum(axis=0))
    np.testing.assert_allclose(SignMajority(step=step)(updates).update, expected, rtol=1e-6)


def test_more_votes_than_half_precision_counts():
    updates = torch.ones(601, 3, dtype=torch.bfloat16)
    updates[:300] = -1
    assert (SignMajority()(updates).update > 0).all()
    assert (RobustLearningRate(threshold=2)(updates).update < 0).all()


def test_impossible_settings_are_refused():
    with pytest.raises(
        ValueError,
        match=r"^RobustLearningRate needs threshold <= n_clients, got threshold=5 and n_clients=4\.$",
    ):
        RobustLearningRate(threshold=5)(UPDATES)
    with pytest.raises(ValueError, match=r"RobustLearningRate\.threshold must be a number >= 0, got -1"):
        RobustLearningRate(threshold=-1)
    with pytest.raises(ValueError, match=r"SignMajority\.step must be a number > 0, got 0"):
        SignMajority(step=0)
