"""Batches of triples, each with corrupted ones beside it; pykeen draws these.

One half of a batch gets other heads and the rest other tails, so that a half shares the vectors that stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.models.base import pykeen
from hauberk.tasks.seeds import seeded


@dataclass(frozen=True, slots=True)
class TripleBatch:
    """Some triples and their corruptions.

    Attributes:
        triples: (head, relation, tail), int64 [b, 3].
        heads: other heads of the first b' triples, about half, int64 [b', k].
        tails: other tails of the rest, int64 [b - b', k].
    """

    triples: Tensor
    heads: Tensor
    tails: Tensor

    def __len__(self) -> int:
        return len(self.triples)

    def to(self, device: torch.device | str) -> TripleBatch:
        """Returns the batch on ``device``."""
        return TripleBatch(self.triples.to(device), self.heads.to(device), self.tails.to(device))


def batches(
    triples: np.ndarray,
    batch_size: int,
    n_negatives: int,
    entities: np.ndarray,
    rng: torch.Generator | None,
) -> Iterator[TripleBatch]:
    """Yields every triple of ``triples`` [n, 3] once, corrupted by ``entities``, int64 [k] ascending.

    All entities of the triples are among ``entities``. Every other triple gets other heads. Without ``rng`` the order
    is that of the rows, and the corruptions are the same at every call and for every size of a batch.

    Raises:
        UserError: if there is but one entity, which nothing can stand in for.
    """
    if len(entities) < 2:
        raise UserError(f"triples of {len(entities)} entity cannot be corrupted: a client needs at least 2")
    order = np.arange(len(triples)) if rng is None else torch.randperm(len(triples), generator=rng).numpy()
    ordered = torch.from_numpy(triples[order])
    local = ordered.clone()
    local[:, [0, 2]] = torch.from_numpy(np.searchsorted(entities, ordered[:, [0, 2]].numpy()))
    names = torch.from_numpy(entities)
    with seeded(torch.Generator().manual_seed(0) if rng is None else rng):
        heads = names[_corrupted(local[0::2], "head", len(entities), n_negatives)[..., 0]]
        tails = names[_corrupted(local[1::2], "tail", len(entities), n_negatives)[..., 2]]
    for start in range(0, len(triples), batch_size):
        stop = min(start + batch_size, len(triples))
        first, second = start + start % 2, start + (start + 1) % 2
        yield TripleBatch(
            torch.cat([ordered[first:stop:2], ordered[second:stop:2]]),
            heads[(start + 1) // 2 : (stop + 1) // 2],
            tails[start // 2 : stop // 2],
        )


def _corrupted(triples: Tensor, side: str, n_entities: int, n_negatives: int) -> Tensor:
    """Returns pykeen's uniform corruptions of ``triples`` [n, 3] on one side, never what stands there, [n, k, 3]."""
    sampler: Any = pykeen("sampling").BasicNegativeSampler(
        mapped_triples=torch.zeros(1, 3, dtype=torch.int64),
        num_entities=n_entities,
        num_relations=1,
        num_negs_per_pos=n_negatives,
        corruption_scheme=(side,),
    )
    return sampler.corrupt_batch(triples)
