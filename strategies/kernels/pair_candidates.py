"""The k largest values of each of many pairs, which are offered in any order and by several threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

_TOGETHER = 1 << 20  # values of some pairs that are copied to be sorted
_MOST = 1 << 18  # values that are sorted by pair at a time


class Candidates:
    """Keeps the ``k`` largest values offered for each pair.

    Only what exceeds a pair's floor is wanted. A floor rises to the smallest of the k largest whenever the pair has
    no room left.

    Args:
        floors: what only values of interest exceed, shape [n_pairs].
        k: how many are wanted.
        room: how many a pair may hold for a while, > k.

    Attributes:
        floors: what they are now, shape [n_pairs + 1]; the last, infinite, belongs to no pair.
        rises: how often any of them has risen.
    """

    def __init__(self, floors: np.ndarray, k: int, room: int) -> None:
        self.floors = np.append(floors, floors.dtype.type(np.inf))
        self.rises = 0
        self._k, self._room = k, room
        self._values = np.empty((len(floors), room), dtype=floors.dtype)
        self._counts = np.zeros(len(floors), dtype=np.int64)
        self._shift = 32 - len(floors).bit_length()
        self._lock = threading.Lock()

    def offer(self, values: np.ndarray, pairs: np.ndarray) -> None:
        """Takes ``values`` > 0 and the numbers of the pairs that they belong to, both of shape [n]."""
        most = min(_MOST, 1 << self._shift)
        for start in range(0, len(values), most):
            part = slice(start, start + most)
            self._take(*self._by_pair(values[part], pairs[part]))

    def sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns of each pair the sum of the squares of its ``k`` largest, in float64, and whether there were k.

        Where there were fewer it is the sum of all that exceeded the floor.
        """
        sums = np.zeros(len(self._counts))
        most = np.finfo(self._values.dtype).max
        for part in self._parts(np.arange(len(sums))):
            rows = self._values[part]
            rows[np.arange(self._room) >= self._counts[part, None]] = 0
            rows.sort(axis=1)  # so that the order of arrival does not change the last bits of a sum
            # A difference of two huge float32 values may be infinite; its square in float64 need not be.
            wide = np.minimum(rows[:, -self._k :], most, dtype=np.float64)
            sums[part] = np.square(wide, out=wide).sum(axis=1)
        return sums, self._counts >= self._k

    def _by_pair(self, values: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns both sorted by pair: as numbers of 32 bits, which sort fastest."""
        shift = np.uint32(self._shift)
        keys = pairs.astype(np.uint32) << shift
        keys |= np.arange(len(pairs), dtype=np.uint32)
        keys.sort()
        place = keys & ((np.uint32(1) << shift) - np.uint32(1))
        return values.take(place), (keys >> shift).astype(np.intp)

    def _take(self, values: np.ndarray, pairs: np.ndarray) -> None:
        """Stores values sorted by pair, and raises the floors of full pairs until there is room for what is left."""
        store = self._values.reshape(-1)
        with self._lock:
            while len(values):
                new = np.bincount(pairs, minlength=len(self._counts))
                slots = (self._counts - new.cumsum() + new).take(pairs) + np.arange(len(pairs))
                places = slots + pairs * self._room
                self._counts += new
                if self._counts.max() <= self._room:
                    store[places] = values
                    return
                fits = slots < self._room
                store[places[fits]] = values[fits]
                for part in self._parts(np.flatnonzero(self._counts > self._room)):
                    self._rise(part)
                left = ~fits & (values > self.floors.take(pairs))
                values, pairs = values[left], pairs[left]

    def _rise(self, pairs: np.ndarray) -> None:
        """Keeps the k largest of each of these full ``pairs``."""
        rows = self._values[pairs]
        rows.partition(self._room - self._k, axis=1)
        self._values[pairs, : self._k] = rows[:, -self._k :]
        self.floors[pairs] = rows[:, -self._k]
        self._counts[pairs] = self._k
        self.rises += len(pairs)

    def _parts(self, pairs: np.ndarray) -> Iterator[np.ndarray]:
        size = max(1, _TOGETHER // self._room)
        return (pairs[start : start + size] for start in range(0, len(pairs), size))
