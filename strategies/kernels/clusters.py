"""Groups of clients: HDBSCAN over a few distances or features, always in the order of the client ids.

Source: Campello, Moulavi and Sander, "Density-Based Clustering Based on Hierarchical Density Estimates",
PAKDD 2013, as scikit-learn has it. Its trees depend on the order of the points where distances tie; sorted by
client id, and rounded to 24 bits so that equal distances are equal, the same clients get the same groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def hdbscan(
    points: Tensor,
    ids: Sequence[int],
    *,
    precomputed: bool,
    min_cluster_size: int = 5,
    min_samples: int = 3,
    allow_single_cluster: bool = False,
) -> Tensor:
    """Returns the cluster of each client, from 0, or -1 for those in none, shape [n_clients].

    Sizes larger than n_clients are lowered to it; a single client is a cluster.

    Args:
        points: features [n_clients, n_features], or distances [n_clients, n_clients] if ``precomputed``.
        ids: the client ids of the rows.
        precomputed: whether ``points`` are distances.
        min_cluster_size: the fewest clients of a cluster; 5 is the library's.
        min_samples: counts the point itself, as in scikit-learn; the package "hdbscan" does not count it.
        allow_single_cluster: whether all clients may be one cluster.
    """
    from sklearn.cluster import HDBSCAN  # the import takes a second, and most rules need none of it

    n_clients = len(points)
    if n_clients == 1:
        return torch.zeros(1, dtype=torch.int64)
    order = torch.tensor(sorted(range(len(ids)), key=ids.__getitem__))
    sorted_points = points[order][:, order] if precomputed else points[order]
    found = HDBSCAN(
        min_cluster_size=max(2, min(min_cluster_size, n_clients)),
        min_samples=min(min_samples, n_clients),
        metric="precomputed" if precomputed else "euclidean",
        allow_single_cluster=allow_single_cluster,
        copy=True,
    ).fit_predict(sorted_points.float().double().numpy())
    labels = torch.empty(n_clients, dtype=torch.int64)
    labels[order] = torch.from_numpy(found).long()
    return labels


def majority(points: Tensor, ids: Sequence[int], *, precomputed: bool = True) -> Tensor:
    """Returns who is in the cluster of more than half of all clients, shape [n_clients], bool.

    HDBSCAN with min_cluster_size = floor(n / 2) + 1 and min_samples = 1: the first group to hold a majority
    when clients are linked in the order of their distances. Without one all clients are in it.
    """
    labels = hdbscan(
        points,
        ids,
        precomputed=precomputed,
        min_cluster_size=len(points) // 2 + 1,
        min_samples=1,
        allow_single_cluster=True,
    )
    return biggest(labels)


def biggest(labels: Tensor) -> Tensor:
    """Returns who has the most frequent label that is not -1, shape [n_clients], bool; all if none has."""
    counts = torch.bincount(labels.clamp(min=-1) + 1)[1:]
    if len(counts) == 0:
        return torch.ones_like(labels, dtype=torch.bool)
    return labels == counts.argmax()
