"""Robust learning rate: where too few clients agree on a sign, the mean goes the other way.

Source: Ozdayi, Kantarcioglu and Gel, "Defending against Backdoors in Federated Learning with Robust Learning
Rate", AAAI 2021 (arXiv 2007.03767): coordinate i of the mean counts with +1 where |sum_k sign(x_ki)| >= theta,
and with -1 elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    TooFewClientsError,
    check_range,
)
from hauberk.strategies.kernels.chunks import Updates, sum_of_slices, weighted_sum, working


@dataclass(frozen=True, kw_only=True)
class RobustLearningRate(Rule):
    """Averages the updates, and flips the sign of every coordinate that lacks agreement.

    Args:
        threshold: theta, the least |number of rises - number of falls| with which a coordinate is learnt, at
            most n_clients; at 0 this is the mean. The paper takes 4 for 10 clients of which 1 lies, and 8
            for 40 of which 4 do; up to the number of liars it leaves them what the others do not move.
    """

    threshold: float

    def __post_init__(self) -> None:
        check_range(self, "threshold", least=0)

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless threshold <= n_clients: all coordinates would be unlearnt."""
        super().check(n_clients)
        if n_clients < self.threshold:
            raise TooFewClientsError(
                f"RobustLearningRate needs threshold <= n_clients, got threshold={self.threshold:g}"
                f" and n_clients={n_clients}."
            )

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            TooFewClientsError: if there are fewer clients than ``threshold``.
        """
        self.admit(updates)
        update = weighted_sum(updates, torch.full((len(updates),), 1 / len(updates), dtype=torch.float64))

        def flip(part: slice, rows: Updates) -> Tensor:
            flipped = working(rows[:, :]).sign().sum(dim=0).abs_() < self.threshold
            update[part] *= 1 - 2 * flipped.to(update.dtype)
            return flipped.sum()

        share = float(sum_of_slices(updates, flip)) / len(update)
        return Aggregation(update, None, state, {"robust_learning_rate/flipped": share})
