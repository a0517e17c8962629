"""dirichlet: each class is dealt by shares drawn from a symmetric Dirichlet distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hauberk.tasks.partition.base import LABEL, Partition

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner


@dataclass(frozen=True, kw_only=True)
class Dirichlet(Partition):
    """Each class is dealt by shares drawn from a symmetric Dirichlet distribution.

    Source: Hsu, Qi, Brown 2019; Yurochkin et al., ICML 2019.

    Args:
        alpha: concentration, above 0; the smaller, the more unlike the clients.
        min_size: smallest number of rows a client may get; the draw is repeated until all have them.
    """

    alpha: float
    min_size: int = 10
    name = "dirichlet"

    def partitioner(self, n_clients: int, n_rows: int, seed: int) -> Partitioner:
        """Returns a DirichletPartitioner that keeps the rows' order."""
        from flwr_datasets.partitioner import DirichletPartitioner

        return DirichletPartitioner(
            n_clients, LABEL, self.alpha, min_partition_size=self.min_size, shuffle=False, seed=seed
        )
