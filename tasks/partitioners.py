"""The ways to deal rows to clients: settings, each with the partitioner of flwr-datasets that it names.

The library is imported at the first cut, since that takes seconds.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hauberk.tasks.errors import UserError

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner

LABEL = "label"


@dataclass(frozen=True, kw_only=True)
class Partition(ABC):
    """How rows are dealt to clients."""

    name: ClassVar[str]

    @property
    def described(self) -> str:
        """The setting as error messages show it, such as dirichlet(alpha=0.5)."""
        values = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))
        return f"{self.name}({values})"

    def cut(self, labels: np.ndarray, n_clients: int, seed: int) -> list[np.ndarray]:
        """Returns each client's positions in ``labels`` [n], which are already shuffled."""
        import datasets

        partitioner = self.partitioner(n_clients, len(labels), seed)
        columns = {LABEL: labels.tolist(), "row": np.arange(len(labels))}
        partitioner.dataset = datasets.Dataset.from_dict(columns)
        with warnings.catch_warnings():
            # The library warns each time that it draws again; if it never succeeds, it raises.
            warnings.simplefilter("ignore", UserWarning)
            parts = [partitioner.load_partition(client) for client in range(n_clients)]
        return [np.asarray(part["row"], np.int64) for part in parts]

    @abstractmethod
    def partitioner(self, n_clients: int, n_rows: int, seed: int) -> Partitioner:
        """Returns the library's partitioner for this setting."""


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
