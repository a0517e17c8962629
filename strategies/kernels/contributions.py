"""What single clients' contributions do to a model's answers, on inputs that are the same for all.

Ours. The margin of class y is m_y(x) = z_y(x) - max over j other than y of z_j(x), z the logits; with two classes the
one is the other's negative. The contribution of client i to it is c_i = m_y of the model - m_y of the model without i's
part; its excess e_i = (c_i - mu_i) - median over clients of (c_j - mu_j) is what it does to this very input beyond
what it does to a usual one and beyond what the others do.
"""

from __future__ import annotations

import torch
from torch import Tensor

FEW = 8  # inputs answered as a class, with less of which all inputs speak for it


def margins(logits: Tensor) -> Tensor:
    """Returns the margin of each class, float64 [..., n_inputs, n_classes], of ``logits`` of that shape."""
    wide = logits.detach().double().nan_to_num(0.0, 1e30, -1e30)
    top, who = wide.topk(2, dim=-1)
    best, second = top[..., :1], top[..., 1:]
    classes = torch.arange(wide.shape[-1], device=wide.device)
    return wide - torch.where(classes == who[..., :1], second, best)


def middle(values: Tensor, dim: int) -> Tensor:
    """Returns the median along ``dim``, the mean of the two middle ones where their number is even."""
    ordered, n = values.sort(dim=dim).values, values.shape[dim]
    return (ordered.select(dim, (n - 1) // 2) + ordered.select(dim, n // 2)) / 2


def excesses(contributions: Tensor, usual: Tensor) -> Tensor:
    """Returns e_i, [n_clients, n_inputs, n_classes].

    Args:
        contributions: c_i, [n_clients, n_inputs, n_classes].
        usual: mu_i, [n_clients, n_classes].
    """
    centred = contributions - usual[:, None]
    return centred - middle(centred, dim=0)


def answered_as(answers: Tensor, n_classes: int) -> list[Tensor]:
    """Returns for each class which inputs speak for it, bool [n_inputs]: those answered so, or all where these are few.

    Args:
        answers: the class that the model answers to each clean input, [n_inputs].
        n_classes: how many there are.
    """
    own = [answers == label for label in range(n_classes)]
    return [which if int(which.sum()) >= FEW else torch.ones_like(which) for which in own]
