import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AGGREGATORS, RFA
from hauberk.strategies.kernels.weiszfeld import centred_gram, distances_to_mixture, geometric_median


def brute(updates, start, n_steps, nu, tolerance):
    """Weiszfeld's steps on the rows themselves."""
    wide = updates.double()
    v = start
    objective = (wide - v).norm(dim=1).mean()
    for _ in range(n_steps):
        beta = 1 / (wide - v).norm(dim=1).clamp(min=nu)
        v = (beta @ wide) / beta.sum()
        before, objective = objective, (wide - v).norm(dim=1).mean()
        if (before - objective).abs() < tolerance * objective:
            break
    return v


def rows(kind, n, d, seed):
    rng = torch.Generator().manual_seed(seed)
    normal = torch.randn(n, d, generator=rng)
    if kind == "heavy":
        return normal.mul(3).exp()
    if kind == "offset":
        return 1e3 + normal
    if kind == "huge":
        normal[0] *= 1e20
    return normal * 1e-5 if kind == "small" else normal


KINDS = ("normal", "heavy", "offset", "huge", "small")


def test_a_hand_calculation():
    # At 0, 0 and 9 the mean is 3, at distances 3 3 6: the weights are .4 .4 .2 and v = 1.8, at distances
    # 1.8 1.8 7.2, so that they are 4/9 4/9 1/9 and v = 1.
    updates = torch.tensor([[0.0], [0.0], [9.0]])
    assert RFA(max_iterations=1)(updates).update.tolist() == pytest.approx([1.8])
    result = RFA(max_iterations=2)(updates)
    assert result.update.tolist() == pytest.approx([1.0])
    assert result.weight.tolist() == pytest.approx([4 / 9, 4 / 9, 1 / 9])
    assert result.report["rfa/objective"] == pytest.approx(10 / 3)


def test_what_byzfl_returns_for_its_own_example():
    updates = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    found = RFA(convention="byzfl")(updates).update
    torch.testing.assert_close(found, torch.tensor([3.78788764, 4.78788764, 5.78788764]))
    assert RFA()(updates).update.tolist() == pytest.approx([4, 5, 6])


@given(
    st.sampled_from(KINDS), st.integers(1, 15), st.integers(1, 40), st.integers(1, 8), st.integers(0, 2**32)
)
def test_agrees_with_brute_force(kind, n, d, n_steps, seed):
    updates = rows(kind, n, d, seed)
    expected = brute(updates, updates.double().mean(dim=0), n_steps, 1e-5, 1e-6)
    found = RFA(max_iterations=n_steps)(updates).update.double()
    assert (found - expected).norm() <= 2e-6 * updates.double().norm(dim=1).median() + 2e-5 * expected.norm()


@given(st.sampled_from(KINDS), st.integers(1, 15), st.integers(1, 40), st.integers(0, 2**32))
def test_byzfl_agrees_with_brute_force(kind, n, d, seed):
    updates = rows(kind, n, d, seed)
    expected = brute(updates, torch.zeros(d, dtype=torch.float64), 3, 0.1, -1)
    found = RFA(convention="byzfl")(updates).update.double()
    assert (found - expected).norm() <= 2e-6 * updates.double().norm(dim=1).median() + 2e-5 * expected.norm()


def test_many_steps_find_the_geometric_median():
    # Of a triangle with no angle above 120 degrees it sees every side under 120 degrees.
    corners = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1.0, 3.0]])
    found = RFA(max_iterations=1000, tolerance=0)(corners).update
    towards = torch.nn.functional.normalize(corners - found, dim=1)
    torch.testing.assert_close(towards.sum(dim=0), torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_a_huge_row_takes_more_than_four_steps_from_the_mean(scale):
    updates = torch.randn(10, 1000, generator=torch.Generator().manual_seed(0))
    updates[4] *= scale
    rest = [row for row in range(10) if row != 4]
    few, many = RFA()(updates), RFA(max_iterations=100, tolerance=0)(updates)
    assert few.update.isfinite().all()
    assert few.update.norm() > 1e3 * updates[0].norm()
    # Its direction still counts as one client's: the median of the others moves a little.
    assert (many.update - updates[rest].mean(dim=0)).norm() < 0.2 * updates[0].norm()


def test_mixtures_keep_their_distances_beside_a_huge_row():
    updates = rows("normal", 6, 500, 1)
    updates[3] *= 1e30
    weight = torch.tensor([0.2, 0.3, 0.1, 1e-30, 0.2, 0.2], dtype=torch.float64)
    point = weight @ updates.double()
    exact = (updates.double() - point).norm(dim=1)
    torch.testing.assert_close(distances_to_mixture(centred_gram(updates), weight), exact, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", ["near", "twins"])
def test_a_centred_gram_keeps_its_digits_around_a_far_origin(kind):
    rng = torch.Generator().manual_seed(2)
    updates = torch.randn(500, generator=rng) + 1e-4 * torch.randn(7, 500, generator=rng)
    updates[1] = updates[2] if kind == "twins" else updates[1]
    wide = updates.double()
    centre = wide.norm(dim=1).argsort()[3]
    exact = (wide - wide[centre]) @ (wide - wide[centre]).T
    torch.testing.assert_close(centred_gram(updates), exact, rtol=1e-9, atol=1e-15)


def test_the_geometric_median_may_be_a_row():
    updates = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [0.0, -1.0], [0.0, 0.0]])
    alpha = torch.full((5,), 0.2, dtype=torch.float64)
    weight, distances = geometric_median(centred_gram(updates), alpha, alpha)
    assert float(weight[4]) == pytest.approx(1, abs=1e-5)
    assert distances.tolist() == pytest.approx([1, 1, 1, 1, 0], abs=1e-5)
    weight, distances = geometric_median(centred_gram(updates[:4]), alpha[:4], 1.25 * alpha[:4])
    assert math.isclose(float(weight.max()), 0.25, rel_tol=1e-6)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"RFA\.convention must be 'official' or 'byzfl', got 'smooth'"):
        RFA(convention="smooth")
    with pytest.raises(ValueError, match=r"RFA\.smoothing is fixed by convention='byzfl', got 0\.01"):
        RFA(convention="byzfl", smoothing=0.01)
    with pytest.raises(ValueError, match=r"RFA\.smoothing must be a number > 0, got 0"):
        RFA(smoothing=0)


@pytest.mark.parametrize("name", ["rfa", "auto_gm"])
@pytest.mark.parametrize("size", [1e160, 1e250, 1e300])
def test_a_float64_row_beyond_all_products_is_far_and_nothing_overflows(name, size):
    rows = torch.randn(9, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows[4] *= size
    parameters = {"max_iterations": 100} if name == "rfa" else {}
    result = AGGREGATORS[name](**parameters)(rows)
    assert result.update.isfinite().all()
    assert result.weight.isfinite().all()
    assert result.weight.argmin() == 4
