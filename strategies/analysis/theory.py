"""Predicted against simulated detection errors of a distance-based rule.

Source: the moments of `kernels.backdoor_strength`, derived there for one attacker and Gaussian updates.
"""

from __future__ import annotations

import torch

from hauberk.strategies.kernels.backdoor_strength import cantelli, gap_moments, observed_error
from hauberk.strategies.kernels.distances import squared_distances


def predicted_error(kappa: float, n_strong: int, n_params: int, n_clients: int) -> float:
    """Returns the bound where ``n_strong`` of ``n_params`` dimensions are shifted by ``kappa`` deviations."""
    delta = torch.zeros(n_params, dtype=torch.float64)
    delta[:n_strong] = kappa
    return cantelli(*gap_moments(delta, torch.ones(n_params), n_clients))


def simulated_error(
    kappa: float, n_strong: int, n_params: int, n_clients: int, n_trials: int, rng: torch.Generator
) -> float:
    """Returns the share of (attacker, clean client) pairs, in simulated rounds, whose attacker looks cleaner."""
    malicious = torch.arange(n_clients) == 0
    errors = []
    for _ in range(n_trials):
        rows = torch.randn(n_clients, n_params, generator=rng)
        rows[0, :n_strong] += kappa
        errors.append(observed_error(squared_distances(rows).sum(dim=1), malicious))
    return sum(errors) / n_trials
