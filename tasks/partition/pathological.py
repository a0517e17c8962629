"""pathological: every client holds a few classes only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hauberk.tasks.partition.base import LABEL, Partition

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner


@dataclass(frozen=True, kw_only=True)
class Pathological(Partition):
    """Every client holds a few classes only.

    Source: McMahan et al., AISTATS 2017, section 3.

    Args:
        classes_per_client: number of classes a client holds.
        assignment: "random", "deterministic" or "first-deterministic".
    """

    classes_per_client: int = 2
    assignment: str = "random"
    name = "pathological"

    def partitioner(self, n_clients: int, n_rows: int, seed: int) -> Partitioner:
        """Returns a PathologicalPartitioner that keeps the rows' order."""
        from flwr_datasets.partitioner import PathologicalPartitioner

        return PathologicalPartitioner(
            n_clients,
            LABEL,
            self.classes_per_client,
            class_assignment_mode=self.assignment,
            shuffle=False,
            seed=seed,
        )
