"""Angles and single linkage by brute force: what the clustering rules are compared with."""

import torch


def first_majority(distances):
    """The first group of more than half of the points that forms as they are linked, nearest first."""
    n = len(distances)
    for level in distances.unique():
        linked = (distances <= level).double()
        for _ in range(n):
            linked = ((linked @ linked) > 0).double()
        sizes = linked.sum(dim=1)
        if sizes.max() > n / 2:
            return linked[sizes.argmax()] > 0
    raise AssertionError("all points are linked in the end")


def unit_distances(rows):
    units = rows / rows.norm(dim=1, keepdim=True)
    return torch.stack([(units - unit).square().sum(dim=1) / 2 for unit in units])
