"""Centered clipping: each update is cut to a threshold around where the last aggregation ended.

Source: Karimireddy, He and Jaggi, "Learning from History for Byzantine Robust Optimization", ICML 2021 (arXiv
2012.10333): v <- v + (1 / n) sum_k (x_k - v) min(1, tau / ||x_k - v||), from the last aggregate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_integer, check_range
from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.distances import distances_to, over_widened
from hauberk.strategies.kernels.norms import clip_factors, median_of


@dataclass(frozen=True, kw_only=True)
class CenteredClip(Rule):
    """Averages the updates, each cut to a threshold around the last aggregate, or around 0 at first.

    Args:
        threshold: tau; by default the median distance of the updates to the centre, anew in each iteration.
            The default is ours: the paper's 10 / (1 - beta) is for gradients with momentum beta, and an
            update's scale depends on model and optimiser.
        n_iterations: how often the centre moves to the cut mean; 1 as in the paper, 3 in some libraries.
    """

    threshold: float | None = None
    n_iterations: int = 1

    def __post_init__(self) -> None:
        if self.threshold is not None:
            check_range(self, "threshold", above=0)
        check_integer(self, "n_iterations", least=1)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params].

        ``state`` is {"centre": the last aggregate}, shape [n_params]. The weight is each client's cut
        relative to the others'.

        Raises:
            ValueError: if ``state`` has a centre of another length.
        """
        self.admit(updates)
        centre = _last_aggregate(updates, state)
        for _ in range(self.n_iterations):
            distances = distances_to(updates, centre)
            threshold = median_of(distances) if self.threshold is None else self.threshold
            factors = clip_factors(distances, threshold)
            _add_clipped_steps(centre, updates, factors / len(factors))
        report = {"centered_clip/threshold": threshold, "centered_clip/clipped": float((factors < 1).sum())}
        return Aggregation(centre, factors / factors.sum(), {"centre": centre.clone()}, report)


def _last_aggregate(updates: Updates, state: State | None) -> Tensor:
    """Returns a copy of the last aggregate, or zeros."""
    n_params = updates.shape[1]
    if not state:
        return torch.zeros(n_params, dtype=updates.dtype, device=updates.device)
    centre: Tensor = state["centre"]
    if centre.shape != (n_params,):
        raise ValueError(
            f"CenteredClip's state has a centre of shape {tuple(centre.shape)}, the updates need ({n_params},)."
        )
    return centre.to(dtype=updates.dtype, device=updates.device, copy=True)


def _add_clipped_steps(centre: Tensor, updates: Updates, shares: Tensor) -> None:
    """Adds ``shares`` [n_clients] of the way to each row to ``centre``, in place."""
    stays = 1 - float(shares.sum())

    def move(part: slice, wide: Tensor) -> None:
        centre[part] = (shares @ wide + stays * centre[part].double()).to(centre.dtype)

    over_widened(updates, move)
