"""From ranks to the field's figures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hauberk.tasks.base import Metric

METRICS = (
    Metric("mrr", "mean reciprocal rank", is_share=True),
    Metric("mean_rank", "mean rank", higher_is_better=False),
    Metric("hits_at_1", "hits@1", is_share=True),
    Metric("hits_at_3", "hits@3", is_share=True),
    Metric("hits_at_10", "hits@10", is_share=True),
    Metric("mrr_rare", "mean reciprocal rank of the rarest quarter", is_share=True),
    Metric("triple_accuracy", "triple classification", is_share=True),
)


def metrics(predictions: Tensor, rarity: np.ndarray) -> dict[str, float]:
    """Returns the value of each of METRICS.

    Args:
        predictions: rank of the tail, rank of the head, share rightly classified, [n, 3].
        rarity: in how many training triples the rarer of each triple's entities stands, [n]; the quarter where that
            is least is measured apart.
    """
    both = predictions[:, :2]
    rarest = torch.from_numpy(np.argsort(rarity, kind="stable")[: -(-len(rarity) // 4)])
    hits = {f"hits_at_{k}": float((both <= k).double().mean()) for k in (1, 3, 10)}
    return {
        "mrr": float(both.reciprocal().mean()),
        "mean_rank": float(both.mean()),
        **hits,
        "mrr_rare": float(both[rarest].reciprocal().mean()),
        "triple_accuracy": float(predictions[:, 2].mean()),
    }
