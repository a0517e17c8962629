"""The memory of a round's rows, kept from round to round: fresh pages cost a large model more than reading replies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RowMemory:
    """Memory for one matrix at a time; a new matrix overwrites the one before."""

    def __init__(self) -> None:
        self._values = torch.empty(0)

    def matrix(self, n_rows: int, n_columns: int) -> Tensor:
        """Returns a float32 matrix [n_rows, n_columns] of whatever values."""
        size = n_rows * n_columns
        if len(self._values) < size:
            self._values = torch.empty(0)  # the old one goes before the new one comes
            self._values = torch.empty(size)
        return self._values[:size].view(n_rows, n_columns)

    def apart(self, tree: Any) -> Any:
        """Returns a tree of plain values and tensors whose tensors outlast this matrix: views of it are copied."""
        if isinstance(tree, Tensor):
            own = self._values.untyped_storage().data_ptr()
            return tree.clone() if len(self._values) and tree.untyped_storage().data_ptr() == own else tree
        if isinstance(tree, dict):
            return {key: self.apart(value) for key, value in tree.items()}
        if type(tree) in (list, tuple):
            return type(tree)(self.apart(value) for value in tree)
        return tree


def arrange(matrix: Tensor, order: list[int]) -> None:
    """Moves the rows of ``matrix`` in place, with one row of memory: row order[i] comes to place i.

    Args:
        matrix: shape [n, n_params].
        order: each of 0 to n - 1 once.
    """
    placed = [source == place for place, source in enumerate(order)]
    for start in range(len(order)):
        if placed[start]:
            continue
        first, place = matrix[start].clone(), start
        while not placed[place]:
            placed[place], source = True, order[place]
            matrix[place].copy_(first if source == start else matrix[source])
            place = source
