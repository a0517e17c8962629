"""What single clients' contributions do to a model's answers, on inputs that are the same for all.

Ours. The margin of class y is m_y(x) = z_y(x) - max over j other than y of z_j(x), z the logits; with two classes the
one is the other's negative. The contribution of client i to it is c_i = m_y of the model - m_y of the model without i's
part; its excess e_i = (c_i - mu_i) - median over clients of (c_j - mu_j) is what it does to this very input beyond
what it does to a usual one and beyond what the others do.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 0.25  # of the median client's usual excess
TINY = 1e-12  # of a threshold: where all answers are equal nothing is far from them
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


def calibration(
    found: Tensor, answers: Tensor, threshold: float, quantile: float, ceiling: float
) -> tuple[Tensor, Tensor]:
    """Returns mu and the thresholds, each [m, n_classes]: both of a class come from the clean inputs answered so.

    The threshold is ``threshold`` times the ``quantile`` of the client's own e_i over these inputs. So nobody is left
    out of more clean answers than others for holding other data than they do, and who moves its usual inputs little
    may not move any other one as far as those who move theirs a lot. Of the median client's quantile it is at least
    FLOOR, and at most ``ceiling``: an attacker could move its usual inputs on purpose.
    """
    groups = answered_as(answers, found.shape[2])
    usual = torch.stack([middle(found[:, rows, label], dim=1) for label, rows in enumerate(groups)], dim=1)
    excess = excesses(found, usual)
    limits = []
    for label, rows in enumerate(groups):
        own = excess[:, rows, label].quantile(quantile, dim=1).clamp_(min=0)
        common = middle(own, dim=0)
        limits.append(threshold * own.clamp(FLOOR * common, ceiling * common))
    return usual, torch.stack(limits, dim=1).clamp_(min=TINY)


def above(excess: Tensor, thresholds: Tensor, answers: Tensor, most: int) -> Tensor:
    """Returns who is left out of each answer, bool [n_inputs, m]: of those above their threshold the f farthest."""
    own = excess.gather(2, answers.expand(len(excess), -1)[:, :, None]).squeeze(2)
    ratio = (own / thresholds[:, answers]).T
    highest = torch.zeros_like(ratio, dtype=torch.bool)
    order = ratio.argsort(dim=1, descending=True, stable=True)[:, :most]
    return highest.scatter_(1, order, True) & (ratio > 1)
