"""What single clients' contributions do to a model's answers, on inputs that are the same for all.

Ours. The margin of class y is m_y(x) = z_y(x) - max over j other than y of z_j(x), z the logits; with two classes the
one is the other's negative. The contribution of client i to it is c_i = m_y of the model - m_y of the model without i's
part. What others learned too, and what goes with it in i's own data, its contribution shares with theirs. Its excess is
what theirs do not explain: the residual of the ridge regression of c_i on all other c_j over clean inputs,

    e = (P (c - mu)) / diag(P),   P = (Sigma + RIDGE diag(Sigma))^-1,

with mu the mean and Sigma the covariance of the contributions there: the inverse holds all m regressions (Cramer,
Mathematical Methods of Statistics, 1946, on residuals).
"""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 0.5  # of a contribution's own variance
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


def excesses(contributions: Tensor, usual: Tensor, precision: Tensor) -> Tensor:
    """Returns e_i, [n_clients, n_inputs, n_classes].

    Args:
        contributions: c_i, [n_clients, n_inputs, n_classes].
        usual: mu_i, [n_clients, n_classes].
        precision: P of each class, [n_classes, n_clients, n_clients].
    """
    residuals = torch.einsum("yij,jny->iny", precision, contributions - usual[:, None])
    return residuals / precision.diagonal(dim1=1, dim2=2).T[:, None]


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
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns mu [m, n_classes], P [n_classes, m, m] and the thresholds [m, n_classes]: a class's from the clean inputs
    answered so.

    The threshold is ``threshold`` times the ``quantile`` of the client's own e_i over these inputs, each as if P and mu
    came from the others of them; of the median client's quantile it is at least FLOOR, and at most ``ceiling``. At 1
    nobody gains by moving its usual inputs on purpose; above 1 fewer clean answers do without honest clients whose data
    are unlike the others'.
    """
    usual, precision, limits = [], [], []
    for label, rows in enumerate(answered_as(answers, found.shape[2])):
        own = found[:, rows, label]
        mean = own.mean(dim=1)
        inverse = _precision(own - mean[:, None])
        high = _without_itself(own - mean[:, None], inverse).quantile(quantile, dim=1).clamp_(min=0)
        common = middle(high, dim=0)
        limits.append(threshold * high.clamp(FLOOR * common, ceiling * common))
        usual.append(mean)
        precision.append(inverse)
    return torch.stack(usual, dim=1), torch.stack(precision), torch.stack(limits, dim=1).clamp_(min=TINY)


def _precision(centred: Tensor) -> Tensor:
    """Returns P, [m, m], of centred contributions [m, n]; one that never moves anything explains nothing."""
    covariance = centred @ centred.T / centred.shape[1]
    own = covariance.diagonal()
    ridge = (RIDGE * own).clamp(min=TINY * float(own.max()) + TINY**2)
    return torch.linalg.inv(covariance + torch.diag(ridge))


def _without_itself(centred: Tensor, precision: Tensor) -> Tensor:
    """Returns e of the inputs that P comes from, each as if it had not been among them, [m, n].

    A residual grows by 1 / (1 - its leverage) (Allen, 1974); P holds the leverages of all m regressions, too.
    """
    n = centred.shape[1]
    moved, own = precision @ centred, precision.diagonal()[:, None]
    leverage = ((centred * moved).sum(dim=0) - moved**2 / own + 1) / n
    return moved / own / (1 - leverage).clamp(min=1 / n)


def above(excess: Tensor, thresholds: Tensor, answers: Tensor, most: int) -> Tensor:
    """Returns who is left out of each answer, bool [n_inputs, m]: of those above their threshold the f farthest."""
    own = excess.gather(2, answers.expand(len(excess), -1)[:, :, None]).squeeze(2)
    ratio = (own / thresholds[:, answers]).T
    highest = torch.zeros_like(ratio, dtype=torch.bool)
    order = ratio.argsort(dim=1, descending=True, stable=True)[:, :most]
    return highest.scatter_(1, order, True) & (ratio > 1)
