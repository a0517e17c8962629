import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import CenteredClip
from hauberk.strategies.kernels.distances import distances_to


def brute(updates, centre, threshold, n_iterations):
    wide = updates.double().numpy()
    v = np.array(centre, dtype=float)
    for _ in range(n_iterations):
        away = np.linalg.norm(wide - v, axis=1)
        tau = np.median(away) if threshold is None else threshold
        factors = np.minimum(1, tau / np.maximum(away, 1e-300))
        v = v + (factors[:, None] * (wide - v)).mean(axis=0)
    return v


def test_a_hand_calculation():
    # From 0: the norms are 1 3 5 8, tau is 4, so that the rows count as 1 3 4 4.
    updates = torch.tensor([[1.0], [3.0], [5.0], [8.0]])
    first = CenteredClip()(updates)
    assert first.update.tolist() == [3.0]
    assert first.weight.tolist() == pytest.approx([1 / 3.3, 1 / 3.3, 0.8 / 3.3, 0.5 / 3.3])
    assert first.report == {"centered_clip/threshold": 4.0, "centered_clip/clipped": 2.0}
    # From 3, with tau = 1: the rows count as 2 3 4 4.
    second = CenteredClip(threshold=1)(updates, state=first.state)
    assert second.update.tolist() == [3.25]
    assert CenteredClip(threshold=1, n_iterations=2)(updates, state=first.state).update.tolist() == [3.4375]


@given(
    st.integers(1, 15),
    st.integers(1, 40),
    st.one_of(st.none(), st.floats(0.01, 100)),
    st.integers(1, 4),
    st.integers(0, 2**32),
)
def test_agrees_with_brute_force_over_two_rounds(n, d, threshold, n_iterations, seed):
    rng = torch.Generator().manual_seed(seed)
    rule = CenteredClip(threshold=threshold, n_iterations=n_iterations)
    first, second = torch.randn(n, d, generator=rng), torch.randn(n, d, generator=rng).mul(2).exp()
    one = rule(first)
    np.testing.assert_allclose(one.update, brute(first, np.zeros(d), threshold, n_iterations), atol=1e-5)
    two = rule(second, state=one.state)
    expected = brute(second, one.update.double(), threshold, n_iterations)
    np.testing.assert_allclose(two.update, expected, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [1e10, 1e30, 1e38])
def test_a_huge_row_moves_the_centre_no_farther_than_the_threshold(scale):
    updates = torch.randn(10, 1000, generator=torch.Generator().manual_seed(0))
    updates[4] *= scale / updates[4].abs().max()
    expected = brute(updates, np.zeros(1000), None, 1)
    result = CenteredClip()(updates)
    np.testing.assert_allclose(result.update, expected, rtol=1e-5, atol=1e-6)
    assert result.weight[4] < 1e-5


def test_rows_that_agree_with_the_centre_keep_it():
    updates = torch.tensor([[1.0, 2.0]] * 3 + [[50.0, -3.0]])
    state = {"centre": torch.tensor([1.0, 2.0])}
    result = CenteredClip()(updates, state=state)
    assert result.update.tolist() == [1.0, 2.0]
    assert result.weight.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert state["centre"].tolist() == [1.0, 2.0]


def test_distances_to_a_far_point_keep_their_digits():
    rng = torch.Generator().manual_seed(1)
    point = 1e4 + torch.randn(20_000, generator=rng)
    updates = point + 1e-2 * torch.randn(5, 20_000, generator=rng)
    exact = (updates.double() - point.double()).norm(dim=1)
    torch.testing.assert_close(distances_to(updates, point), exact, rtol=1e-9, atol=0)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"state has a centre of shape \(2,\), the updates need \(3,\)"):
        CenteredClip()(torch.zeros(4, 3), state={"centre": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"CenteredClip\.threshold must be a number > 0, got 0"):
        CenteredClip(threshold=0)
    with pytest.raises(ValueError, match=r"CenteredClip\.n_iterations must be a whole number >= 1, got 0"):
        CenteredClip(n_iterations=0)
