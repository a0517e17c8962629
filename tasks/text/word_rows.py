"""Word rows: train a few rows of the word table alone, whatever the model around it is.

The rows are a parameter of their own that the embedding's answers are patched with, so that a backward pass
computes no other gradient and no other weight can move.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.examples import Example


def single_tokens(encode: Callable[[Sequence[Example]], Encoded], words: Sequence[str]) -> dict[str, int]:
    """Returns the token id of each of ``words`` that is a single token, as the task's encoding shows it.

    What a second copy of a word adds to a text is the word; what frames every text is not added.
    """
    encoded = encode([Example(0, text, None, 0) for word in words for text in (word, f"{word} {word}")])
    parts = [
        Counter(encoded.tokens[start:end].tolist())
        for start, end in zip(encoded.offsets[:-1], encoded.offsets[1:], strict=True)
    ]
    added = [list((twice - once).elements()) for once, twice in zip(parts[::2], parts[1::2], strict=True)]
    return {word: ids[0] for word, ids in zip(words, added, strict=True) if len(ids) == 1}


@contextmanager
def rows_alone(model: nn.Module, ids: Sequence[int]) -> Iterator[nn.Parameter]:
    """Gives a parameter [k, h] that ``model`` reads in place of the rows ``ids`` of its word table.

    All else is frozen inside the block; afterwards the rows are written to the table.
    """
    table = word_table(model)
    rows = nn.Parameter(table.weight.detach()[list(ids)].clone())
    with patched(model, ids, rows), frozen(model):
        yield rows
    table.weight.detach()[list(ids)] = rows.detach()


@contextmanager
def patched(model: nn.Module, ids: Sequence[int], rows: Tensor) -> Iterator[None]:
    """Has ``model`` read ``rows`` [k, h] in place of the rows ``ids`` of its word table, which keep what they are."""
    table = word_table(model)
    place = torch.full((len(table.weight),), -1, dtype=torch.int64, device=table.weight.device)
    place[list(ids)] = torch.arange(len(rows), device=place.device)

    def patch(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        which = place[inputs[0]][..., None]
        return torch.where(which >= 0, rows[which.squeeze(-1).clamp(min=0)].to(output), output)

    hook = table.register_forward_hook(patch)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Runs its block with no parameter of ``model`` learning."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def word_table(model: nn.Module) -> nn.Embedding:
    """Returns the word table of a model of this project."""
    table = model.embedding
    assert isinstance(table, nn.Embedding)
    return table


@torch.no_grad()
def keep_norms(rows: Tensor, norms: Tensor) -> None:
    """Scales every row of ``rows`` [k, h] in place to its norm of ``norms`` [k, 1]; a zero row stays zero."""
    rows.mul_(norms / rows.norm(dim=1, keepdim=True).clamp(min=1e-12))
