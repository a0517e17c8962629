"""size: clients of unequal size and like content: client i holds a share that grows with i."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hauberk.tasks.errors import UserError
from hauberk.tasks.partition.base import Partition

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner


@dataclass(frozen=True, kw_only=True)
class Size(Partition):
    """Clients of unequal size and like content: client i holds a share that grows with i.

    Args:
        growth: "linear" (i + 1), "square" ((i + 1) squared) or "exponential" (e to the i).
    """

    growth: str = "linear"
    name = "size"

    def __post_init__(self) -> None:
        """Refuses an unknown growth."""
        if self.growth not in ("linear", "square", "exponential"):
            raise UserError(f"partition.growth must be linear, square or exponential, got '{self.growth}'.")

    def partitioner(self, n_clients: int, n_rows: int, seed: int) -> Partitioner:
        """Returns the library's partitioner of that growth."""
        from flwr_datasets import partitioner

        kind = {"linear": "LinearPartitioner", "square": "SquarePartitioner"}
        return getattr(partitioner, kind.get(self.growth, "ExponentialPartitioner"))(n_clients)
