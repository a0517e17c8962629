"""Relative backdoor strength, and how likely a distance-based rule takes the attacker for clean.

Source: the notion is that of Zhang, Su and Sun, "Dim-Krum", Findings of EMNLP 2022 (arXiv 2210.06894); its exact
symbols are not verified. The moments below are derived here for one attacker and Gaussian clean updates, and a test
compares them with a simulation: with clean x_i ~ N(mu_i, sigma_i^2), an attacker shifted by Delta, and scores
S_k = sum_j ||x_k - x_j||^2 over all others,

    E[S_m - S_p]   = (n - 2) sum_i Delta_i^2
    Var[S_m - S_p] = (n - 2)^2 sum_i [4 sigma_i^4 n / (n - 2) + 4 Delta_i^2 sigma_i^2 (n - 1) / (n - 2)]
    P(S_m <= S_p) <= Var / (Var + E^2)                                                       (Cantelli)

so that dimensions in which the attacker is weak add to the variance and nothing to the gap. The gap is a sum over many
dimensions, so that a Gaussian of these moments is close to the truth where Cantelli's inequality is only safe.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from hauberk.strategies.kernels.distances import squared_distances, widened
from hauberk.strategies.kernels.krum_scores import krum_scores
from hauberk.strategies.kernels.magnitudes import kth_magnitude, top_magnitudes
from hauberk.strategies.kernels.robust_scale import floors
from hauberk.strategies.layout import Layout

QUANTILES = (0.5, 0.9, 0.99, 0.999)


def report(
    updates: Tensor,
    malicious: Tensor,
    *,
    ratio: float = 1e-3,
    layout: Layout | None = None,
    distances: Tensor | None = None,
) -> dict[str, float]:
    """Returns what theory says of one round whose liars are known.

    Args:
        updates: the rows, shape [n_clients, n_params].
        malicious: which rows lie, bool [n_clients]; at least one does and two do not.
        ratio: the share of dimensions that ``theory/top_share`` looks at.
        layout: where each tensor lies; without it a row is one tensor.
        distances: the rows' squared distances, [n_clients, n_clients], where they are known already.

    Returns:
        ``theory/kappa_q*``, quantiles over the dimensions of the relative backdoor strength |Delta_i| / sigma_i, where
        sigma_i is at least 1e-3 of its tensor's median; ``theory/top_share``, the share of ||Delta||^2 in the
        ``ratio`` dimensions of the largest strength; ``theory/predicted_error``, the bound on the probability that a
        liar looks at least as clean as a clean client (for one liar among Gaussian clients);
        ``theory/expected_error``, that probability if the gap were Gaussian; ``theory/observed_error``, the share of
        such pairs in which it does; ``theory/krum_rank``, the best place of a liar under Krum's scores, from 1.
    """
    n, n_params = updates.shape
    gaps, kappa = torch.empty(n_params), torch.empty(n_params)
    sums = torch.zeros(3, dtype=torch.float64)
    for part, delta, sigma in _shifts(updates, malicious):
        gaps[part], kappa[part] = delta.float(), sigma.float()
        sums += _unbiased_sums(delta.square(), sigma.square(), malicious)
    _divide(gaps, kappa, layout)
    top = top_magnitudes(kappa, max(1, int(ratio * n_params)))
    total = _square(gaps)
    moments = _moments(sums.clamp_(min=0), n)
    places = {f"theory/kappa_q{q:g}": kth_magnitude(kappa, round(q * (n_params - 1))) for q in QUANTILES}
    return {
        **places,
        "theory/top_share": _square(gaps[top]) / total if total else 0.0,
        "theory/predicted_error": cantelli(*moments),
        "theory/expected_error": gaussian_error(*moments),
        **outcome(squared_distances(updates) if distances is None else distances, malicious),
    }


def outcome(distances: Tensor, malicious: Tensor) -> dict[str, float]:
    """Returns ``theory/observed_error`` and ``theory/krum_rank``, as in ``report``.

    Args:
        distances: squared distances between the rows, [n_clients, n_clients].
        malicious: which rows lie, bool [n_clients].
    """
    scores = krum_scores(distances, min(int(malicious.sum()), len(distances) - 3))
    return {
        "theory/observed_error": observed_error(distances.sum(dim=1), malicious),
        "theory/krum_rank": _best_rank(scores, malicious),
    }


def gap_moments(delta: Tensor, sigma: Tensor, n_clients: int) -> tuple[float, float]:
    """Returns mean and variance of S_m - S_p for shifts ``delta`` and clean deviations ``sigma``, both [n_params]."""
    shift, spread = delta.double().square(), sigma.double().square()
    return _moments(torch.stack([shift.sum(), spread.square().sum(), (shift * spread).sum()]), n_clients)


def cantelli(mean: float, variance: float) -> float:
    """Returns the bound on P(gap <= 0) for a gap of this mean and variance; 1 where the mean is not positive."""
    if mean <= 0:
        return 1.0
    ratio = variance / mean / mean
    return ratio / (1 + ratio)


def gaussian_error(mean: float, variance: float) -> float:
    """Returns P(gap <= 0) for a Gaussian gap of this mean and variance; 1 where both are 0."""
    if variance <= 0:
        return float(mean <= 0)
    return 0.5 * math.erfc(mean / math.sqrt(2 * variance))


def observed_error(scores: Tensor, malicious: Tensor) -> float:
    """Returns the share of (liar, clean client) pairs whose liar scores no higher; lower is more trusted."""
    return float((scores[malicious][:, None] <= scores[~malicious][None, :]).double().mean())


def _moments(sums: Tensor, n: int) -> tuple[float, float]:
    """Returns the moments from the sums over dimensions of Delta^2, sigma^4 and Delta^2 sigma^2, shape [3]."""
    shift, spread, both = sums.tolist()
    variance = 4 * spread * n / (n - 2) + 4 * both * (n - 1) / (n - 2)
    return (n - 2) * shift, (n - 2) ** 2 * variance


def _unbiased_sums(shift: Tensor, spread: Tensor, malicious: Tensor) -> Tensor:
    """Returns the three sums from estimates, less what estimating adds: a mean of few rows is itself a random shift."""
    n_liars, n_clean = int(malicious.sum()), int((~malicious).sum())
    real = shift - spread * (1 / n_liars + 1 / n_clean)
    fourth = spread.square() * (n_clean - 1) / (n_clean + 1)
    return torch.stack([real.sum(), fourth.sum(), (real * spread).sum()])


def _shifts(updates: Tensor, malicious: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yields columns, the liars' shift against the clean mean and the clean deviation, both float64."""
    for part, wide in widened(updates):
        clean = wide[~malicious]
        mean = clean.mean(dim=0)
        variance = clean.sub_(mean).square_().sum(dim=0).div_(len(clean) - 1)
        yield (
            part,
            wide[malicious].mean(dim=0).sub_(mean),
            variance.sqrt_(),
        )  # torch's std takes ten times as long


def _divide(gaps: Tensor, sigma: Tensor, layout: Layout | None) -> None:
    """Turns ``sigma`` in place into |gap| / max(sigma, floor), both of shape [n_params] and float32."""
    limit = torch.finfo(sigma.dtype)
    for place, floor in floors(sigma, layout):
        own = sigma[place].clamp_(min=max(floor, limit.tiny))
        torch.div(gaps[place], own, out=own)
        own.abs_().clamp_(max=limit.max)


def _square(vector: Tensor) -> float:
    """Returns the squared norm of ``vector`` [n], with float64 accumulation."""
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64)) ** 2


def _best_rank(scores: Tensor, malicious: Tensor) -> float:
    return 1.0 + float((scores[~malicious] < scores[malicious].min()).sum())
