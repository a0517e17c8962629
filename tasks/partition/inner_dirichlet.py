"""inner_dirichlet: clients of equal size, each with a mixture of classes of its own, drawn from a Dirichlet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hauberk.tasks.partition.base import LABEL, Partition

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner


@dataclass(frozen=True, kw_only=True)
class InnerDirichlet(Partition):
    """Clients of equal size, each with a mixture of classes of its own drawn from a Dirichlet distribution.

    Source: Acar et al., ICLR 2021.

    Args:
        alpha: concentration, above 0; the smaller, the more unlike the clients.
    """

    alpha: float
    name = "inner_dirichlet"

    def partitioner(self, n_clients: int, n_rows: int, seed: int) -> Partitioner:
        """Returns an InnerDirichletPartitioner whose sizes are those of an equal cut."""
        from flwr_datasets.partitioner import InnerDirichletPartitioner

        sizes = [len(part) for part in np.array_split(np.arange(n_rows), n_clients)]
        return InnerDirichletPartitioner(sizes, LABEL, self.alpha, shuffle=False, seed=seed)
