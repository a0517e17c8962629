"""Bucketing: average the updates in small random buckets, so that those of different data grow alike.

Source: Karimireddy, He and Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", ICLR 2022
(arXiv 2006.09365).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.strategies.base import AggregationContext, check_integer
from hauberk.strategies.chain import PreAggregator
from hauberk.strategies.kernels.chunks import Updates


@dataclass(frozen=True, kw_only=True)
class Bucketing(PreAggregator):
    """Averages random buckets of ``size`` updates; ceil(n_clients / size) rows come out.

    The rule that follows sees f liars among fewer rows: f has to be possible for those. The buckets are drawn
    with ``context.rng`` over the clients in the order of their ids.

    Args:
        size: s, how many updates share a bucket; the last one may have fewer.
    """

    keeps_clients: ClassVar[bool] = False

    size: int = 2

    def __post_init__(self) -> None:
        check_integer(self, "size", least=1)

    def n_rows(self, n_clients: int) -> int:
        """Returns ceil(n_clients / size)."""
        return -(-n_clients // self.size)

    def mixing(self, updates: Updates, context: AggregationContext) -> Tensor:
        """Returns the mixing matrix, shape [n_buckets, n_clients]; each row sums to 1."""
        n_clients = len(updates)
        drawn = torch.randperm(n_clients, generator=context.rng, device=context.rng.device)
        order = context.by_id(n_clients)[drawn.cpu()]
        mixing = torch.zeros(self.n_rows(n_clients), n_clients, dtype=torch.float64)
        mixing[torch.arange(n_clients) // self.size, order] = 1
        return (mixing / mixing.sum(dim=1, keepdim=True)).to(updates.device)
