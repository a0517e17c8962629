"""What theory predicts is what a simulation shows."""

from __future__ import annotations

import math

import pytest
import torch

from hauberk.strategies.analysis.theory import predicted_error, simulated_error
from hauberk.strategies.kernels.backdoor_strength import cantelli, gap_moments, gaussian_error, report
from hauberk.strategies.kernels.distances import squared_distances

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
    moments = gap_moments(torch.full((D,), kappa), torch.ones(D), N)
    assert gaussian_error(*moments) == pytest.approx(error, abs=0.02)


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


def test_a_hand_calculation():
    # Clean rows at -1 and 1 in each of four dimensions, so that sigma^2 is 4/3; the liar at 2, 0, 0, 0.
    updates = torch.tensor([[-1.0] * 4, [1.0] * 4, [2.0, 0, 0, 0], [-1.0] * 4, [1.0] * 4])
    found = report(updates, torch.arange(5) == 2, ratio=0.25)
    sigma = (4 / 3) ** 0.5
    assert found["theory/kappa_q0.999"] == pytest.approx(2 / sigma)
    assert found["theory/kappa_q0.5"] == 0
    assert found["theory/top_share"] == 1
    # Of Delta^2 = 4 in all the estimates themselves add 4 sigma^2 (1 + 1/4) = 20/3: nothing is left.
    assert found["theory/predicted_error"] == 1
    # Squared distances to the liar 12 and 4, between clean rows 0 and 16: sums of 44, 36 and the liar's 32. Of
    # their two nearest clean clients have 0 + 12 and 0 + 4, the liar 4 + 4.
    assert found["theory/observed_error"] == 1
    assert found["theory/krum_rank"] == 3


@pytest.mark.parametrize("scale", [1e10, 1e30, 1e38])
def test_a_huge_liar_leaves_every_figure_finite(scale):
    updates = torch.randn(N, 3000, generator=torch.Generator().manual_seed(4))
    updates[:, 1000:] = 0
    updates[0] *= 0.2 * scale
    found = report(updates, torch.arange(N) == 0)
    assert all(math.isfinite(value) for value in found.values())
    assert found["theory/krum_rank"] == N
    assert found["theory/expected_error"] < 1e-6


def test_quantiles_and_shares_agree_with_float64():
    updates = torch.randn(N, 5000, generator=torch.Generator().manual_seed(5))
    updates *= torch.randn(5000, generator=torch.Generator().manual_seed(6)).exp()
    malicious = torch.arange(N) < 2
    wide = updates.double()
    delta = wide[:2].mean(dim=0) - wide[2:].mean(dim=0)
    sigma = wide[2:].std(dim=0)
    kappa = delta.abs() / sigma.clamp(min=1e-3 * float(sigma.quantile(0.5)))
    found = report(updates, malicious, ratio=0.01)
    for q in (0.5, 0.9, 0.99, 0.999):
        expected = kappa.sort().values[round(q * 4999)]
        assert found[f"theory/kappa_q{q:g}"] == pytest.approx(float(expected), rel=1e-5)
    share = delta[kappa.topk(50).indices].square().sum() / delta.square().sum()
    assert found["theory/top_share"] == pytest.approx(float(share), rel=1e-5)
