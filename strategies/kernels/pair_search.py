"""Searches the k largest differences of all pairs of rows in one pass over the columns, or a few.

A sample of the columns tells for each pair a floor that some more than k of its differences exceed. A pass finds
those, and the k largest of them are the k largest of all as long as there are k. A pair for which the sample was a
bad guess is done again from its whole difference: a liar who knows the sample costs time, never the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates, working
from hauberk.strategies.kernels.pair_candidates import Candidates
from hauberk.strategies.kernels.pair_cells import Cell, batches, cells, pairs_of
from hauberk.strategies.kernels.pair_ends import MOST_ROWS
from hauberk.strategies.kernels.pair_floors import pair_floors, sampled_columns
from hauberk.strategies.kernels.pair_join import Block, Found, Scratch
from hauberk.strategies.kernels.threads import in_threads, n_threads
from hauberk.strategies.kernels.whole_pairs import whole_sums

_TILE = 1 << 18  # values that are searched at a time
_KEPT = 1 / 8  # the share of the matrix's values that may be kept as candidates
_LEAST_ROOM = 5 / 4  # of k, for the candidates of a pair ...
_MOST_ROOM = 2  # ... where there is memory enough; more would stay empty
_OFFERED = 1 / 256  # the share of the matrix's values that a thread may find before it offers them, ...
_FEWEST, _MOST = 1 << 15, 1 << 18  # ... but neither fewer nor more
_NEGLIGIBLE = 2.0**-50  # what may be missing of a sum


def search_sums(updates: Updates, k: int, inverse: Tensor | None = None) -> Tensor:
    """Returns for each pair of rows the sum of its ``k`` largest squared differences, as ``strongest_squares`` does.

    It does not depend on the number of threads: the k largest are added in the order of their size.

    Args:
        updates: shape [n_clients, n_params].
        k: how many of the n_params differences count; far fewer than n_params.
        inverse: what each difference is multiplied by first, > 0, shape [n_params]; by default 1.
    """
    places = sampled_columns(updates.shape[1])
    sample = working(updates[:, places]).cpu().numpy()
    scale = None if inverse is None else inverse[places].cpu().numpy()
    twin = _twins(updates, sample)
    rows = np.unique(twin)
    sums = np.zeros((len(updates), len(updates)))
    if len(rows) > 1:
        with np.errstate(over="ignore", invalid="ignore"):
            floors = np.full(sums.shape, np.inf, dtype=sample.dtype)
            floors[np.ix_(rows, rows)] = pair_floors(sample[rows], scale, k / updates.shape[1])
            most = max(1, min(_kept(updates) // _room(_LEAST_ROOM, k), MOST_ROWS**2 // 2))
            todo = list(cells(rows, floors, most, _Effort(sample, scale, floors)))
        del sample
        for batch in batches(todo, most):
            _search_batch(updates, k, inverse, batch, floors, sums)
    return torch.from_numpy(sums[np.ix_(twin, twin)]).to(updates.device)


def _search_batch(
    updates: Updates, k: int, inverse: Tensor | None, batch: list[Cell], floors: np.ndarray, sums: np.ndarray
) -> None:
    """Writes the sums of some cells' pairs into ``sums``."""
    first, second = (np.concatenate(ends) for ends in zip(*map(pairs_of, batch), strict=True))
    room = max(_room(_LEAST_ROOM, k), min(_room(_MOST_ROOM, k), _kept(updates) // len(first)))
    candidates = Candidates(floors[first, second], k, room)
    numbers = np.full(floors.shape, len(first), dtype=np.int32)  # of no pair
    numbers[first, second] = numbers[second, first] = np.arange(len(first))
    blocks = [Block(turned, numbers, candidates.floors) for cell in batch for turned in _both_ways(cell)]
    _Pass(updates, inverse, blocks, candidates).run()
    found, complete = candidates.sums()
    # Above a floor of next to nothing there may be fewer than k: what is missing does not matter then.
    missing = k * np.square(candidates.floors[:-1].astype(np.float64))
    short = np.flatnonzero(~complete & (missing > _NEGLIGIBLE * found))
    again = list(zip(first[short].tolist(), second[short].tolist(), strict=True))
    found[short] = whole_sums(updates, again, k, inverse)
    sums[first, second] = sums[second, first] = found


@dataclass
class _Pass:
    """One pass over all columns, in several threads."""

    updates: Updates
    inverse: Tensor | None
    blocks: list[Block]
    candidates: Candidates
    _tuned: int = field(default=0, init=False)

    def run(self) -> None:
        """Offers the candidates whatever exceeds their floors."""
        starts = count(0, _width(len(self.updates)))
        in_threads(self._work, [starts] * n_threads())

    def _work(self, starts: Iterator[int]) -> None:
        """Searches one slice after another, as long as there are any: other threads take theirs from ``starts``."""
        enough = min(max(_FEWEST, int(_OFFERED * self.updates.shape[0] * self.updates.shape[1])), _MOST)
        held: list[Found] = []
        n_held = 0
        with np.errstate(over="ignore", invalid="ignore"):
            for found in self._found(starts):
                held.append(found)
                n_held += len(found[0])
                if n_held >= enough:
                    self._offer(held)
                    held, n_held = [], 0
            self._offer(held)

    def _found(self, starts: Iterator[int]) -> Iterator[Found]:
        scratch = Scratch()
        for start in starts:
            if start >= self.updates.shape[1]:
                return
            part = slice(start, start + _width(len(self.updates)))
            rows = working(self.updates[:, part]).cpu().numpy()
            inverse = None if self.inverse is None else self.inverse[part].cpu().numpy()
            for block in self.blocks:
                yield from block.search(rows, inverse, scratch)

    def _offer(self, held: list[Found]) -> None:
        if held:
            self.candidates.offer(*map(np.concatenate, zip(*held, strict=True)))
        if self.candidates.rises - self._tuned >= len(self.candidates.floors) - 1:
            self._tuned = self.candidates.rises
            for block in self.blocks:
                block.tune()


@dataclass(frozen=True)
class _Effort:
    """Foretells from the sampled columns how long a cell takes."""

    sample: np.ndarray
    inverse: np.ndarray | None
    floors: np.ndarray

    def __call__(self, cell: Cell) -> float:
        numbers = np.arange(self.floors.size).reshape(self.floors.shape)
        blocks = [Block(turned, numbers, self.floors.reshape(-1)) for turned in _both_ways(cell)]
        n_sampled, width, scratch = self.sample.shape[1], _width(len(self.sample)), Scratch()
        total = 0
        for start in range(0, n_sampled, width):
            part = slice(start, start + width)
            inverse = None if self.inverse is None else self.inverse[part]
            total += sum(block.effort(self.sample[:, part], inverse, scratch) for block in blocks)
        return total / n_sampled


def _both_ways(cell: Cell) -> list[Cell]:
    first, second = cell
    return [cell] if first is second else [cell, (second, first)]


def _width(n_rows: int) -> int:
    return max(256, _TILE // n_rows)


def _kept(updates: Updates) -> int:
    return int(_KEPT * updates.shape[0] * updates.shape[1])


def _room(share: float, k: int) -> int:
    return int(share * k) + 16


def _twins(updates: Updates, sample: np.ndarray) -> np.ndarray:
    """Returns for each row the first one that is equal to it, shape [n_clients]."""
    twin = np.arange(len(sample))
    alike: dict[bytes, list[int]] = {}
    for p, row in enumerate(sample):
        first = alike.setdefault((row + 0).tobytes(), [])  # + 0: a negative 0 is equal to 0
        same = next((q for q in first if torch.equal(updates[p], updates[q])), None)
        if same is None:
            first.append(p)
        else:
            twin[p] = same
    return twin
