"""FLTrust: the server trains on a little clean data of its own, and trusts who goes its way.

Source: Cao, Fang, Liu and Gong, "FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping", NDSS
2021 (arXiv 2012.13995): TS_k = ReLU(cos(x_k, g)), A = sum_k TS_k (||g|| / ||x_k||) x_k / sum_k TS_k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.strategies.aggregators._client_scores import score_report
from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, skipped_round
from hauberk.strategies.kernels.angles import products
from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.norms import row_norms, scaled_sum
from hauberk.strategies.requirements import required_vector


@dataclass(frozen=True)
class FLTrust(Rule):
    """Averages updates of the root update's length, each weighted by its cosine with the root update.

    Where no update goes the root update's way the round is skipped: the result is 0, and no client counts.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"root_update"})

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            ValueError: if ``context`` lacks a root update as long as the rows, or it is not finite.
        """
        self.admit(updates)
        context = context or AggregationContext()
        root = required_vector(self, context, "root_update", updates)
        length = float(row_norms(root[None]))
        if not math.isfinite(length):
            raise ValueError(f"FLTrust needs a finite root_update, got one of norm {length}.")
        norms = row_norms(updates)
        trust = trust_scores(products(updates, root), norms, length)
        report = score_report("fltrust", trust, context)
        total = float(trust.sum())
        if total == 0:
            return skipped_round(updates, state, report)
        weight = trust / total
        scale = torch.where(norms > 0, weight * length / norms, 0.0)
        return Aggregation(scaled_sum(updates, scale), weight, state, report)


def trust_scores(inner: Tensor, norms: Tensor, length: float) -> Tensor:
    """Returns ReLU(cos) of each client, shape [n_clients]; 0 for a row or a root update of zeros.

    Args:
        inner: inner products with the root update, shape [n_clients].
        norms: of the rows, shape [n_clients].
        length: the norm of the root update.
    """
    scale = norms * length
    return torch.where(scale > 0, inner / scale, 0.0).clamp_(0, 1)
