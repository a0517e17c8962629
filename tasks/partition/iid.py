"""iid: equal shares of shuffled rows, the first ones a row longer where they do not come out even."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hauberk.tasks.partition.base import Partition

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner


@dataclass(frozen=True, kw_only=True)
class Iid(Partition):
    """Equal shares of shuffled rows, the first ones a row longer where they do not come out even."""

    name = "iid"

    def cut(self, labels: np.ndarray, n_clients: int, seed: int) -> list[np.ndarray]:
        """Returns the same contiguous cut as the library, whose import takes seconds."""
        return np.array_split(np.arange(len(labels)), n_clients)

    def partitioner(self, n_clients: int, n_rows: int, seed: int) -> Partitioner:
        """Returns an IidPartitioner."""
        from flwr_datasets.partitioner import IidPartitioner

        return IidPartitioner(n_clients)
