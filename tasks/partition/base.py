"""The ways to deal rows to clients: settings, each with the partitioner of flwr-datasets that it names.

The library is imported at the first cut, since that takes seconds.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np

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
