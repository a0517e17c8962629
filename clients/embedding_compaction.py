"""Active rows: train only those word vectors that the client's texts use.

An optimiser without weight decay never changes a weight whose gradients are all zero, and the vector of a
word that no text of this client contains gets none. So the embedding table shrinks to the rows in use while a
client trains, and they are written back afterwards: the same bits, without the work on rows that stand still.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.clients.settings import Training

# A vectorised kernel treats the last few numbers of a tensor by other instructions, which may round apart.
# With as many rows modulo LANES and the last LANES rows in place, they are the same numbers in both tables.
LANES = 64
WORTH_IT = 0.75  # share of the rows in use above which the small table saves nothing


def active_rows(model: nn.Module, read: np.ndarray | None) -> np.ndarray | None:
    """Returns the rows of ``model.embedding`` to train, ascending, int64 [n]; ``None`` for them all.

    Args:
        model: the model.
        read: the rows that the client's data read, as `Task.embedding_rows` gives them.
    """
    table = getattr(model, "embedding", None)
    if read is None or type(table) is not nn.Embedding or not _is_plain(model, table):
        return None
    used = np.zeros(table.num_embeddings, dtype=bool)
    used[read] = True
    used[-LANES:] = True
    if table.padding_idx is not None:
        used[table.padding_idx] = True
    spare = np.flatnonzero(~used)
    used[spare[len(spare) - len(spare) % LANES :]] = (
        True  # then the number of rows left out is a multiple of LANES
    )
    return np.flatnonzero(used) if used.mean() < WORTH_IT else None


def table_name(model: nn.Module) -> str:
    """Returns the name of the weights of ``model.embedding`` among the model's parameters."""
    table: Any = model.embedding
    return next(name for name, parameter in model.named_parameters() if parameter is table.weight)


class ReadsTable(Protocol):
    """A plugin or a tamper: whether it reads more of the word table than the rows of a client's texts."""

    @property
    def whole_table(self) -> bool:
        """Whether it does."""


def is_exact(training: Training, tamper: ReadsTable | None = None) -> bool:
    """Returns whether training on fewer rows gives the same bits under these settings."""
    parts: list[ReadsTable] = [*training.plugins, *([] if tamper is None else [tamper])]
    return training.optimizer.leaves_still and not any(part.whole_table for part in parts)


@contextmanager
def compacted(model: nn.Module, rows: np.ndarray | None) -> Iterator[None]:
    """Lets ``model`` have only these ``rows`` of its word table inside the block; ``None`` changes nothing.

    Token ids stay what they are: they are translated on their way into the table. One of another row raises
    IndexError. Optimisers and references are to be made inside the block. The whole table is back afterwards,
    with what the rows have become, also where the block raises.
    """
    if rows is None:
        yield
        return
    table: Any = model.embedding
    whole, padding = table.weight, table.padding_idx
    kept = torch.from_numpy(rows)
    place = torch.full((len(whole),), -1, dtype=torch.int64)
    place[kept] = torch.arange(len(kept))
    hook = table.register_forward_pre_hook(lambda _, tokens: (place[tokens[0]],))
    _put(table, nn.Parameter(whole.detach()[kept]), None if padding is None else int(place[padding]))
    try:
        yield
    finally:
        hook.remove()
        whole.detach()[kept] = table.weight.detach()
        _put(table, whole, padding)


def _put(table: nn.Embedding, weight: nn.Parameter, padding: int | None) -> None:
    table.weight, table.num_embeddings, table.padding_idx = weight, len(weight), padding


def _is_plain(model: nn.Module, table: nn.Embedding) -> bool:
    """Returns whether nothing but looking rows up, on the CPU, happens to ``table``."""
    weight: Tensor = table.weight
    shared = sum(other is weight for _, other in model.named_parameters(remove_duplicate=False)) > 1
    altered = table.max_norm is not None or table.scale_grad_by_freq or table.sparse
    return weight.requires_grad and weight.device.type == "cpu" and not shared and not altered
