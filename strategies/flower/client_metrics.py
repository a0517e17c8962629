"""What clients report about themselves, averaged so that one odd reply can neither break nor own it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hauberk.strategies.aggregators.fedavg import FedAvg, capped_weights


def mean_metrics(reports: Sequence[Mapping[str, Any]], n_examples: Sequence[float]) -> dict[str, Any]:
    """Returns the mean of each metric that more than half of the ``reports`` hold.

    A value that is not finite, or not of the shape most give it, is left out. A client counts by the examples
    it claims, but for at most 3 times the median claim.

    Args:
        reports: a number or a list of numbers by name, one mapping for each client.
        n_examples: how many examples each client claims, all above 0.
    """
    weights = capped_weights(torch.tensor(n_examples, dtype=torch.float64), FedAvg.cap).tolist()
    means: dict[str, Any] = {}
    for name in dict.fromkeys(name for report in reports for name in report):
        held = [
            (weight, np.asarray(report[name], dtype=float))
            for weight, report in zip(weights, reports, strict=True)
            if name in report
        ]
        alike = _most_alike([(weight, value) for weight, value in held if np.isfinite(value).all()])
        if 2 * len(alike) > len(reports):
            total = sum(weight for weight, _ in alike)
            means[name] = np.asarray(sum(weight * value for weight, value in alike) / total).tolist()
    return means


def _most_alike(values: list[tuple[float, np.ndarray]]) -> list[tuple[float, np.ndarray]]:
    shapes = Counter(value.shape for _, value in values)
    return [(weight, value) for weight, value in values if value.shape == shapes.most_common(1)[0][0]]
