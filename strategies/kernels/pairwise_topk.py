"""The k largest squared differences of every pair of rows, summed: exact, without sorting whole rows.

A sample of the columns tells for each pair a floor that about 1.5 k of its differences exceed. One pass in
slices keeps those, and the k largest of them are the k largest of all as long as k were kept. Blocks whose
maximum stays below the floor, nearly all of them, are never looked into. A pair for which the sample was a
bad guess (ties, or columns made to mislead it) is done again from its whole difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import SLICE, Updates, column_chunks, working

_SAMPLE = 1 << 16  # columns
_BLOCK = 16  # differences looked at together
_KEPT = 1 / 33  # the share of the matrix's values that may be kept at a time; each takes some 10 bytes
_FEW = 1 / 200  # with k above this share of the columns whole differences are quicker than a floor


def strongest_squares(updates: Updates, k: int, inverse: Tensor | None = None) -> Tensor:
    """Returns for each pair of rows the sum of its ``k`` largest squared differences.

    Args:
        updates: shape [n_clients, n_params].
        k: how many of the n_params differences count, 1 <= k <= n_params.
        inverse: what each difference is multiplied by first, > 0, shape [n_params]; by default 1.

    Returns:
        A symmetric matrix [n_clients, n_clients] in float64 with a diagonal of 0.
    """
    n_clients = len(updates)
    sums = torch.zeros(n_clients, n_clients, dtype=torch.float64, device=updates.device)
    for batch in _batches(updates, k):
        for p, found in zip(batch, _search(updates, k, batch, inverse), strict=True):
            for q, total in enumerate(found, start=p + 1):
                if total is None:
                    total = _sum_of_largest(_difference(updates, p, q, inverse), k)
                sums[p, q] = sums[q, p] = total
    return sums


def _batches(updates: Updates, k: int) -> list[range]:
    """Returns the rows whose differences to later rows are searched in one pass, pass by pass."""
    n_clients, n_params = updates.shape
    every_pair = n_clients * (n_clients - 1) / 2 * k
    if every_pair <= _KEPT * n_clients * n_params:
        return [range(n_clients - 1)]
    return [range(p, p + 1) for p in range(n_clients - 1)]


def _search(updates: Updates, k: int, batch: range, inverse: Tensor | None) -> list[Sequence[float | None]]:
    """Returns, for each row in ``batch``, its sums with all later rows; None where they are still to do."""
    n_clients, n_params = updates.shape
    if n_params < 4 * _SAMPLE or k > _FEW * n_params:
        return [[None] * (n_clients - 1 - p) for p in batch]
    finds = _finds(updates, k, batch, inverse)
    width = min(SLICE, n_params)
    buffer = torch.empty(n_clients - 1, width, dtype=finds[0].floors.dtype, device=updates.device)
    for place, part in column_chunks(updates, SLICE):
        rows = working(part)
        width = rows.shape[1]
        padded = -(-width // _BLOCK) * _BLOCK
        for p, find in zip(batch, finds, strict=True):
            differences = buffer[: n_clients - 1 - p, :padded]
            differences[:, width:] = 0  # never above a floor
            torch.sub(rows[p + 1 :], rows[p], out=differences[:, :width])
            if inverse is not None:
                differences[:, :width] *= inverse[place]
            find.look_into(differences.abs_())
    return [find.sums(k) for find in finds]


def _finds(updates: Updates, k: int, batch: range, inverse: Tensor | None) -> list[_Finds]:
    """Returns empty finds for each row in ``batch``, with floors from a fixed random sample of columns."""
    n_params = updates.shape[1]
    rng = torch.Generator().manual_seed(0)  # the result does not depend on it, only the time does
    places = torch.randint(n_params, (_SAMPLE,), generator=rng)
    sample = working(updates[:, places])
    expected = _SAMPLE * k / n_params
    rank = int(expected + 4 * expected**0.5 + 4)
    finds = []
    for p in batch:
        differences = (sample[p + 1 :] - sample[p]).abs_()
        if inverse is not None:
            differences *= inverse[places]
        floors = differences.topk(rank, dim=1).values[:, -1].contiguous()
        finds.append(_Finds(floors, most=4 * rank * n_params // _SAMPLE))
    return finds


@dataclass
class _Finds:
    """The differences of one row to all later ones that exceed their pairs' floors."""

    floors: Tensor  # [n_later]
    most: int  # how many of one pair are worth keeping
    counts: Tensor = field(init=False)
    values: list[Tensor] = field(default_factory=list)
    pairs: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = torch.zeros(len(self.floors), dtype=torch.int64, device=self.floors.device)

    def look_into(self, differences: Tensor) -> None:
        """Keeps what exceeds the floors in ``differences`` [n_later, width]; _BLOCK divides the width."""
        n_later, width = differences.shape
        blocks = differences.view(n_later, _BLOCK, width // _BLOCK)
        pair, block = (blocks.amax(dim=1) > self.floors[:, None]).nonzero().unbind(dim=1)
        candidates = blocks[pair, :, block]  # [n_hits, _BLOCK]
        kept = candidates > self.floors[pair, None]
        pair = pair[:, None].expand_as(kept)[kept]
        self.values.append(candidates[kept])
        self.pairs.append(pair.to(torch.int16))
        self.counts += torch.bincount(pair, minlength=n_later)
        self.floors[self.counts > self.most] = torch.inf

    def sums(self, k: int) -> list[float | None]:
        """Returns the sum of each pair's ``k`` largest squares, or None where the floor was a bad guess."""
        order = torch.cat(self.pairs).argsort(stable=True)
        values = torch.cat(self.values)[order].split(self.counts.tolist())
        self.values.clear()
        self.pairs.clear()
        # Above a floor of 0 there may be fewer than k: all the others are 0.
        return [
            _sum_of_largest(kept, k) if floor == 0 or k <= len(kept) <= self.most else None
            for kept, floor in zip(values, self.floors.tolist(), strict=True)
        ]


def _difference(updates: Updates, p: int, q: int, inverse: Tensor | None = None) -> Tensor:
    """Returns the absolute difference of two rows, shape [n_params]; a vector, not a matrix."""
    difference = (working(updates[p]) - working(updates[q])).abs_()
    return difference if inverse is None else difference.mul_(inverse)


def _sum_of_largest(values: Tensor, k: int) -> float:
    """Returns the sum of the squares of the ``k`` largest of ``values``, which are not kept in order."""
    # NumPy partitions in place; torch.topk would pair each value with an index of 8 bytes.
    array = values.cpu().numpy()
    if k < len(array):
        array.partition(len(array) - k)
        array = array[len(array) - k :]
    total = 0.0
    for part in torch.from_numpy(array).split(SLICE):
        # A difference of two huge float32 values may be infinite; its square in float64 need not be.
        wide = part.double().clamp_(max=torch.finfo(values.dtype).max)
        total += float(wide @ wide)
    return total
