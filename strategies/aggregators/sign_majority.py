"""Sign majority: every client has one vote for each parameter, up or down.

Source: Bernstein et al., "signSGD with Majority Vote is Communication Efficient and Fault Tolerant", ICLR 2019
(arXiv 1810.05291): step * sign(sum_k sign(x_k)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range
from hauberk.strategies.kernels.chunks import SLICE, Updates, working
from hauberk.strategies.kernels.threads import over_slices


@dataclass(frozen=True, kw_only=True)
class SignMajority(Rule):
    """Moves every parameter by one step in the direction most clients want; where they tie it stays.

    Args:
        step: how far. The default is ours, a usual learning rate of Adam; every parameter moves by all of
            it in every round, so that it has to be small.
    """

    row_wise: ClassVar[bool] = True

    step: float = 1e-3

    def __post_init__(self) -> None:
        check_range(self, "step", above=0)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through."""
        self.admit(updates)
        update = torch.empty(updates.shape[1], dtype=updates.dtype, device=updates.device)

        def vote(part: slice) -> None:
            update[part] = working(updates[:, part]).sign().sum(dim=0).sign_().mul_(self.step)

        over_slices(len(update), SLICE, lambda: vote)
        return Aggregation(update, None, state)
