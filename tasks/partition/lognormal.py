"""lognormal: clients of like content whose sizes are drawn from a lognormal distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hauberk.tasks.errors import UserError
from hauberk.tasks.partition.base import Partition

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner


@dataclass(frozen=True, kw_only=True)
class Lognormal(Partition):
    """Clients of like content and unequal size: a client's share is proportional to exp(sigma z), z from N(0, 1).

    Source: the sizes of Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020, synthetic data.

    Args:
        sigma: how unequal, above 0: at 0.5 two clients of three differ from the median by a factor below 1.65.
        min_size: smallest number of rows of a client; what the others have beyond it pays for that.
    """

    sigma: float = 0.5
    min_size: int = 10
    name = "lognormal"

    def __post_init__(self) -> None:
        """Refuses what is no spread or no size."""
        if not 0 < self.sigma < np.inf:
            raise UserError(f"partition.sigma: must be above 0, got {self.sigma!r}")
        if self.min_size < 1:
            raise UserError(f"partition.min_size: must be at least 1 row, got {self.min_size!r}")

    def partitioner(self, n_clients: int, n_rows: int, seed: int) -> Partitioner:
        """Returns a SizePartitioner of the drawn sizes."""
        from flwr_datasets.partitioner import SizePartitioner

        if n_clients * self.min_size > n_rows:
            raise UserError(
                f"federation.partition = {self.described}: {n_clients} clients of {self.min_size} rows or more need "
                f"{n_clients * self.min_size} rows, got {n_rows}"
            )
        drawn = np.random.default_rng(seed).lognormal(sigma=self.sigma, size=n_clients)
        spare = n_rows - n_clients * self.min_size
        return SizePartitioner([self.min_size + more for more in whole_shares(drawn, spare)])


def whole_shares(weights: np.ndarray, total: int) -> list[int]:
    """Returns whole numbers in proportion to ``weights`` [n] whose sum is ``total``; none is off by 1 or more."""
    ends = np.rint(np.cumsum(weights) / weights.sum() * total).astype(int)
    return np.diff(ends, prepend=0).tolist()
