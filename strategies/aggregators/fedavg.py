"""FedAvg: the mean of the updates; the baseline that one attacker can own.

Source: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
AISTATS 2017 (arXiv 1602.05629): x = sum_k (m_k / M) x_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range
from hauberk.strategies.kernels.chunks import Updates, weighted_sum


@dataclass(frozen=True, kw_only=True)
class FedAvg(Rule):
    """Averages the updates.

    Args:
        weighting: "uniform", or "examples" for the paper's weights by claimed example counts. The counts are
            the clients' own word, so the default does without them.
        cap: under "examples", a client counts for at most ``cap`` times the median count; ours: the paper
            trusts every count.
    """

    row_wise: ClassVar[bool] = True

    weighting: str = "uniform"
    cap: float = 3.0

    def __post_init__(self) -> None:
        if self.weighting not in ("uniform", "examples"):
            raise ValueError(f"FedAvg.weighting must be 'uniform' or 'examples', got {self.weighting!r}.")
        check_range(self, "cap", least=1)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            ValueError: if the weights need example counts that ``context`` lacks.
        """
        self.admit(updates)
        weight = client_weights(self, context, len(updates), self.cap)
        return Aggregation(weighted_sum(updates, weight), weight, state)


def client_weights(rule: Any, context: AggregationContext | None, n_clients: int, cap: float) -> Tensor:
    """Returns the weights that the ``weighting`` of ``rule`` gives, float64 [n_clients], sum 1."""
    if rule.weighting == "examples":
        return capped_weights(_n_examples(rule, context, n_clients), cap)
    return torch.full((n_clients,), 1 / n_clients, dtype=torch.float64)


def capped_weights(n_examples: Tensor, cap: float) -> Tensor:
    """Returns weights that sum to 1, proportional to counts of at most ``cap`` times their median."""
    capped = n_examples.clamp(max=cap * float(n_examples.quantile(0.5)))
    return capped / capped.sum()


def _n_examples(rule: object, context: AggregationContext | None, n_clients: int) -> Tensor:
    counts = () if context is None or context.n_examples is None else context.n_examples
    if len(counts) != n_clients:
        raise ValueError(
            f"{type(rule).__name__} with weighting='examples' needs one n_examples for each row, got {len(counts)} for"
            f" {n_clients} rows."
        )
    return torch.tensor(counts, dtype=torch.float64)
