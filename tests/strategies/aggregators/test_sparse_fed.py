import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.aggregators.sparse_fed import SparseFed


def brute_round(updates, clip, k, rho, momentum, error):
    wide = updates.double().numpy()
    if clip is not None:
        norms = np.linalg.norm(wide, axis=1, keepdims=True)
        wide = wide * np.minimum(1, clip / np.maximum(norms, 1e-300))
    momentum = rho * momentum + wide.mean(axis=0)
    error = error + momentum
    sent = np.argsort(-np.abs(error), kind="stable")[:k]
    update = np.zeros_like(error)
    update[sent] = error[sent]
    error[sent] = momentum[sent] = 0
    return update, momentum, error


def test_a_hand_calculation():
    # k = 1 of 3, rho = .5. Means (2, 3, 0): V = E = (2, 3, 0), the second goes out.
    rule = SparseFed(ratio=0.34, momentum=0.5)
    one = rule(torch.tensor([[1.0, 3.0, 0.0], [3.0, 3.0, 0.0]]))
    assert one.update.tolist() == [0, 3, 0]
    assert one.state["momentum"].tolist() == one.state["error"].tolist() == [2, 0, 0]
    # Means (1, 1, -1): V = (2, 1, -1), E = (4, 1, -1), the first goes out.
    two = rule(torch.tensor([[1.0, 1.0, -1.0]]), state=one.state)
    assert two.update.tolist() == [4, 0, 0]
    assert two.state["momentum"].tolist() == two.state["error"].tolist() == [0, 1, -1]
    assert two.report == {"sparse_fed/kept_back": pytest.approx(2**0.5)}
    assert one.state["error"].tolist() == [2, 0, 0]


@given(
    st.integers(1, 8),
    st.integers(1, 60),
    st.floats(0.01, 1),
    st.floats(0, 0.99),
    st.sampled_from([None, 1.0, 5.0]),
    st.integers(0, 2**32),
)
def test_agrees_with_float64_over_three_rounds(n, d, ratio, rho, clip, seed):
    rng = torch.Generator().manual_seed(seed)
    rule, state = SparseFed(clip=clip, ratio=ratio, momentum=rho), None
    k = max(1, int(ratio * d))
    momentum = error = np.zeros(d)
    for _ in range(3):
        updates = torch.randn(n, d, generator=rng)
        result = rule(updates, state=state)
        state = result.state
        expected, momentum, error = brute_round(updates, clip, k, rho, momentum, error)
        np.testing.assert_allclose(result.update, expected, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(state["error"], error, rtol=2e-5, atol=1e-6)


def test_everything_at_once_is_the_mean():
    updates = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    result = SparseFed(ratio=1, momentum=0)(updates)
    torch.testing.assert_close(result.update, updates.mean(dim=0))
    assert not result.state["error"].any()


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_a_clipped_huge_row_counts_for_its_direction_alone(scale):
    updates = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    rule = SparseFed(clip=1.0, ratio=0.1)
    expected = rule(updates).update
    updates[2] *= scale
    torch.testing.assert_close(rule(updates).update, expected, rtol=1e-5, atol=1e-7)


def test_what_is_impossible_is_refused():
    state = SparseFed()(torch.ones(2, 4)).state
    with pytest.raises(ValueError, match="state of 4 parameters, the rows have 5"):
        SparseFed()(torch.ones(2, 5), state=state)
    with pytest.raises(ValueError, match="clip must be a number > 0, got 0"):
        SparseFed(clip=0)
    with pytest.raises(ValueError, match="ratio must be a number > 0 and <= 1, got 2"):
        SparseFed(ratio=2)
    with pytest.raises(ValueError, match="momentum must be a number >= 0 and < 1, got 1"):
        SparseFed(momentum=1)
