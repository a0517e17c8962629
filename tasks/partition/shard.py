"""shard: rows sorted by class are cut into shards, and every client gets some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hauberk.tasks.partition.base import LABEL, Partition

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner


@dataclass(frozen=True, kw_only=True)
class Shard(Partition):
    """Rows sorted by class are cut into shards, and every client gets some.

    Args:
        shards_per_client: number of shards a client gets.
    """

    shards_per_client: int = 2
    name = "shard"

    def partitioner(self, n_clients: int, n_rows: int, seed: int) -> Partitioner:
        """Returns a ShardPartitioner that keeps the rows' order."""
        from flwr_datasets.partitioner import ShardPartitioner

        return ShardPartitioner(
            n_clients, LABEL, num_shards_per_partition=self.shards_per_client, shuffle=False, seed=seed
        )
