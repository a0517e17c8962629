"""Clients' data as a few flat arrays: all workers of a node read the same memory, and none unpacks what others need."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np

from hauberk.clients.worker import WorkerConfig


class FlatArrays(Sequence[np.ndarray]):
    """Many arrays of one type, end to end in one.

    Args:
        arrays: each one-dimensional.
        dtype: of them all.
    """

    def __init__(self, arrays: Sequence[np.ndarray], dtype: Any) -> None:
        self._values = np.concatenate([np.empty(0, dtype), *arrays]).astype(dtype, copy=False)
        self._ends = np.cumsum([0, *map(len, arrays)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, place: slice) -> list[np.ndarray]: ...
    def __getitem__(self, place: Any) -> Any:
        """Returns one array, a view, or a list of them."""
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        return self._values[self._ends[place] : self._ends[place + 1]]


class PackedExamples(Sequence[Any]):
    """Examples packed one by one; each is unpacked when it is asked for, and anew each time."""

    def __init__(self, examples: Iterable[Any]) -> None:
        self._packed = FlatArrays([np.frombuffer(pickle.dumps(one), np.uint8) for one in examples], np.uint8)

    def __len__(self) -> int:
        return len(self._packed)

    def __getitem__(self, place: Any) -> Any:
        """Returns one example, or a list of them."""
        if isinstance(place, slice):
            return [pickle.loads(packed.data) for packed in self._packed[place]]
        return pickle.loads(self._packed[place].data)


def shared(config: WorkerConfig) -> WorkerConfig:
    """Returns the same for workers that share memory; examples as they were written go along for attackers alone."""
    examples = PackedExamples(config.examples) if config.attack is not None else ()
    return replace(config, examples=examples, partitions=FlatArrays(config.partitions, np.int64))
