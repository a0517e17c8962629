"""What theory predicts is what a simulation shows."""

from __future__ import annotations

import pytest
import torch

from hauberk.strategies.geometry import squared_distances
from hauberk.strategies.theory import cantelli, gap_moments, predicted_error, report, simulated_error

N, D = 10, 50


def test_the_moments_are_those_of_a_simulation():
    rng = torch.Generator().manual_seed(0)
    sigma = torch.rand(D, generator=rng, dtype=torch.float64) + 0.5
    delta = torch.randn(D, generator=rng, dtype=torch.float64)
    rows = torch.randn(20_000, N, D, generator=rng, dtype=torch.float64) * sigma
    rows[:, 0] += delta
    pairs = (rows[:, :2, None] - rows[:, None]).square().sum(dim=(2, 3))
    gaps = pairs[:, 0] - pairs[:, 1]
    mean, variance = gap_moments(delta, sigma, N)
    assert gaps.mean().item() == pytest.approx(mean, rel=0.02)
    assert gaps.var().item() == pytest.approx(variance, rel=0.05)
    assert (gaps <= 0).double().mean() <= cantelli(mean, variance)


@pytest.mark.parametrize(("kappa", "error"), [(0.3, 0.39), (0.6, 0.158), (1.0, 0.009)])
def test_uniform_strengths_err_as_often_as_was_measured(kappa, error):
    rng = torch.Generator().manual_seed(1)
    found = simulated_error(kappa, D, D, N, 1500, rng)
    assert found == pytest.approx(error, abs=0.02)
    assert found <= predicted_error(kappa, D, D, N)


def test_weak_dimensions_add_noise_and_no_gap():
    assert predicted_error(3.0, 5, 50, N) < predicted_error(3.0, 5, 5000, N)


def test_a_round_is_reported_with_its_liar():
    rng = torch.Generator().manual_seed(2)
    updates = torch.randn(N, 2000, generator=rng)
    updates[3, :40] += 30
    found = report(updates, torch.arange(N) == 3, ratio=0.02)
    assert found["theory/krum_rank"] == N
    assert found["theory/observed_error"] == 0
    assert found["theory/top_share"] > 0.9
    assert found["theory/kappa_q0.99"] > 10 > found["theory/kappa_q0.5"]
    assert found["theory/predicted_error"] < 0.1


def test_an_attacker_like_the_others_is_not_seen():
    updates = torch.randn(N, 2000, generator=torch.Generator().manual_seed(3))
    found = report(updates, torch.arange(N) == 0)
    assert found["theory/predicted_error"] > 0.3
    assert squared_distances(updates).isfinite().all()


def test_untouched_dimensions_stay_finite():
    updates = torch.zeros(N, 100)
    updates[0, 5] = 1.0
    assert all(value == pytest.approx(value) for value in report(updates, torch.arange(N) == 0).values())
