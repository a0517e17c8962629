"""What single clients' contributions do to a model's answers, on inputs that are the same for all.

Ours. The margin of class y is m_y(x) = z_y(x) - max over j other than y of z_j(x), z the logits; with two classes the
one is the other's negative. The contribution of client i to it is c_i = m_y of the model - m_y of the model without i's
part. What others learned too, and what goes with it in i's own data, its contribution shares with theirs. Its excess is
the least of two things: what theirs do not explain, and what it moves beyond the median client. The first is the
residual of the ridge regression of c_i on all other c_j over clean inputs,

    r = (P (c - mu)) / diag(P),   P = (Sigma + RIDGE diag(max(Sigma_ii, median of Sigma_jj)))^-1,

with mu the mean and Sigma the covariance of the contributions there: the inverse holds all m regressions (Cramer,
Mathematical Methods of Statistics, 1946, on residuals). A client that hardly moves clean inputs would have steep slopes
in the others' regressions, and what it then moves be laid to them: hence the median in the ridge and the second part,

    (c_i - mu_i) - s_i median_j (c_j - mu_j),   s_i = max(1, mu_i / median of |mu_j|).

A client that moves usual inputs s times as far as the median client has to follow it s times as far elsewhere, too:
else it could do much of the others' work, and then move an input that they leave behind as far as usual ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST = 1e6  # of s: where the median client moves nothing any number is as good


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


def excesses(contributions: Tensor, usual: Tensor, precision: Tensor, answers: Tensor) -> Tensor:
    """Returns e_i for the class that each input is answered as, [n_clients, n_inputs].

    Args:
        contributions: c_i, [n_clients, n_inputs, n_classes].
        usual: mu_i, [n_clients, n_classes].
        precision: P of each class, [n_classes, n_clients, n_clients].
        answers: the class that the model answers to each input, [n_inputs].
    """
    found = torch.empty(contributions.shape[:2], dtype=contributions.dtype, device=contributions.device)
    for label in answers.unique().tolist():
        rows = answers == label
        moved = contributions[:, rows, label] - usual[:, label, None]
        unexplained = precision[label] @ moved / precision[label].diagonal()[:, None]
        found[:, rows] = beyond(moved, unexplained, usual[:, label])
    return found


def beyond(moved: Tensor, unexplained: Tensor, usual: Tensor) -> Tensor:
    """Returns e_i, [n_clients, n_inputs], of c_i - mu_i and r_i, both of that shape, and of mu_i, [n_clients]."""
    return torch.minimum(unexplained, moved - scales(usual)[:, None] * middle(moved, dim=0))


def scales(usual: Tensor) -> Tensor:
    """Returns s_i, [n_clients], of mu_i of that shape."""
    common = middle(usual.abs(), dim=0).clamp(min=torch.finfo(usual.dtype).tiny)
    return (usual / common).clamp(min=1, max=MOST)


def most_contributed(
    contributions: Tensor, usual: Tensor, precision: Tensor, client: int, threshold: float
) -> Tensor:
    """Returns the largest c_i to the margin of one class at which e_i is no more than a threshold, [n_inputs].

    Args:
        contributions: c_j to this class, [n_clients, n_inputs]; the client's own do not matter.
        usual: mu, [n_clients].
        precision: P, [n_clients, n_clients].
        client: i.
        threshold: of e_i.
    """
    moved = contributions - usual[:, None]
    others = torch.arange(len(moved), device=moved.device) != client
    explained = -(precision[client, others] / precision[client, client]) @ moved[others]
    far = torch.full_like(moved[:1], float("inf"))  # the client's own, when the median is taken
    followed = scales(usual)[client] * middle(torch.cat([moved[others], far]), dim=0)
    return usual[client] + threshold + torch.maximum(explained, followed)


def above(excess: Tensor, thresholds: Tensor, answers: Tensor, most: int) -> Tensor:
    """Returns who is left out of each answer, bool [n_inputs, m]: of those above their threshold the f farthest.

    Args:
        excess: e_i, [m, n_inputs].
        thresholds: of each class, [m, n_classes].
        answers: the class that the model answers to each input, [n_inputs].
        most: f.
    """
    ratio = (excess / thresholds[:, answers]).T
    highest = torch.zeros_like(ratio, dtype=torch.bool)
    order = ratio.argsort(dim=1, descending=True, stable=True)[:, :most]
    return highest.scatter_(1, order, True) & (ratio > 1)
