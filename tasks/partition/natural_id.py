"""natural_id: whole classes are dealt out: where they are as many as the clients or more, each has one owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hauberk.tasks.partition.base import LABEL, Partition

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner


@dataclass(frozen=True, kw_only=True)
class NaturalId(Partition):
    """Each class belongs to one client, and clients have equally many classes, the first ones one more.

    Where there are fewer classes than clients, each belongs to several, in equal shares.

    Args:
        shuffle: whether the seed deals the classes; otherwise client 0 has the first ones, client 1 the next.
    """

    shuffle: bool = False
    name = "natural_id"

    def cut(self, labels: np.ndarray, n_clients: int, seed: int) -> list[np.ndarray]:
        """Returns the same cut as the library for as many classes as clients; it knows no other, and draws a bar."""
        classes, which = np.unique(labels, return_inverse=True)
        order = np.random.default_rng(seed).permutation(len(classes)) if self.shuffle else range(len(classes))
        if len(classes) >= n_clients:
            groups = np.array_split(np.asarray(order), n_clients)
            return [np.flatnonzero(np.isin(which, group)) for group in groups]
        shares = np.array_split(np.arange(n_clients), len(classes))
        return [
            part
            for one, clients in zip(order, shares, strict=True)
            for part in np.array_split(np.flatnonzero(which == one), len(clients))
        ]

    def partitioner(self, n_clients: int, n_rows: int, seed: int) -> Partitioner:
        """Returns a NaturalIdPartitioner."""
        from flwr_datasets.partitioner import NaturalIdPartitioner

        return NaturalIdPartitioner(partition_by=LABEL)
