"""Which of a graph's training triples are held back, taken, or made public: drawn, in the order that they had."""

from __future__ import annotations

import torch

from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.triples import Triple


def held_back(
    train: tuple[Triple, ...], share: float, rng: torch.Generator
) -> tuple[tuple[Triple, ...], tuple[Triple, ...]]:
    """Returns the triples without, and those of, a random ``share``, at least one of each.

    Raises:
        UserError: there are fewer than two triples.
    """
    if len(train) < 2:
        raise UserError(f"task.validation: needs at least 2 training triples, got {len(train)}")
    n = min(max(1, round(share * len(train))), len(train) - 1)
    chosen = set(torch.randperm(len(train), generator=rng)[:n].tolist())
    kept = tuple(triple for row, triple in enumerate(train) if row not in chosen)
    return kept, tuple(train[row] for row in sorted(chosen))


def taken(train: tuple[Triple, ...], n: int | None, rng: torch.Generator) -> tuple[Triple, ...]:
    """Returns ``n`` of the triples, or all where it is None; raises UserError if there are fewer."""
    if n is None or n == len(train):
        return train
    if n > len(train):
        raise UserError(f"task.n_train: must be at most the {len(train)} training triples, got {n}")
    return tuple(train[row] for row in sorted(torch.randperm(len(train), generator=rng)[:n].tolist()))
