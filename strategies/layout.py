"""Where each named tensor lies in a row: the map between a model's tensors and one flat vector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Slot:
    """The place of one tensor in a row: ``row[start:stop]`` has its values, ``shape`` its form."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int
    dtype: str = "float32"

    @property
    def slice(self) -> slice:
        """Returns the columns of the tensor."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Layout:
    """The tensors of a row, in their order, without gaps."""

    slots: tuple[Slot, ...]

    @property
    def n_params(self) -> int:
        """Returns the length of a row."""
        return self.slots[-1].stop if self.slots else 0

    def __len__(self) -> int:
        return len(self.slots)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self.slots)

    def __getitem__(self, name: str) -> Slot:
        """Returns the slot of the tensor ``name``; raises KeyError if there is none."""
        for slot in self.slots:
            if slot.name == name:
                return slot
        raise KeyError(name)

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Returns views of ``vector`` [n_params], one for each tensor, by name."""
        return {slot.name: vector[slot.slice].view(slot.shape) for slot in self.slots}

    def arrays(self, vector: Tensor) -> dict[str, np.ndarray]:
        """Returns the same as NumPy arrays; ``vector`` is on the CPU."""
        return {name: tensor.numpy() for name, tensor in self.unflatten(vector).items()}

    def digest(self) -> str:
        """Returns a hash by which a server and its clients see that they mean the same tensors."""
        text = json.dumps([[slot.name, slot.shape, slot.dtype] for slot in self.slots])
        return hashlib.sha256(text.encode()).hexdigest()


def layout_of(arrays: Mapping[str, Any]) -> Layout:
    """Returns the layout of the floating-point ``arrays`` (NumPy arrays or tensors), in their order.

    Integer buffers have no place in a row: they are not averaged.
    """
    slots: list[Slot] = []
    start = 0
    for name, array in arrays.items():
        dtype = str(array.dtype).removeprefix("torch.")
        if "float" in dtype:
            stop = start + prod(array.shape)
            slots.append(Slot(name, tuple(array.shape), start, stop, dtype))
            start = stop
    return Layout(tuple(slots))
