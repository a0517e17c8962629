"""How far a client's contribution may go beyond its usual ones, from clean inputs; see `kernels.contributions`.

Ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.strategies.kernels.contributions import beyond, middle

RIDGE = 0.5  # of a contribution's variance, or of the median client's
FLOOR = 0.25  # of the median client's usual excess
TINY = 1e-12  # of a threshold: where all answers are equal nothing is far from them
FEW = 8  # inputs answered as a class, with less of which all inputs speak for it


@dataclass(frozen=True, eq=False)
class Limits:
    """What is usual on clean inputs.

    Attributes:
        usual: mu, float64 [m, n_classes].
        precision: P, float64 [n_classes, m, m].
        thresholds: of the excess, float64 [m, n_classes].
        excess: e_i of each clean input for the class that it is answered as, float64 [m, n_inputs], as if mu and P came
            from the other inputs.
    """

    usual: Tensor
    precision: Tensor
    thresholds: Tensor
    excess: Tensor


def limits_of(
    found: Tensor, answers: Tensor, shares: Tensor, *, threshold: float, quantile: float, ceiling: float
) -> Limits:
    """Returns the limits that clean inputs set: those of a class come from the inputs that are answered so.

    The threshold is ``threshold`` times the ``quantile`` of the client's own e_i over these inputs, each as if it had
    not been there. It is at least FLOOR and at most ``ceiling`` times what the median client has for the same share of
    all weight: a client that moves usual inputs to and fro gains nothing by it.

    Args:
        found: c_i of the clean inputs, [m, n_inputs, n_classes].
        answers: the class that the model answers to each, [n_inputs].
        shares: how much each vector counted in all rounds, [m].
        threshold: above 0.
        quantile: in (0, 1).
        ceiling: at least 1.
    """
    m, n_inputs, n_classes = found.shape
    shares = shares.to(found).clamp(min=TINY)
    excess = torch.empty(m, n_inputs, dtype=found.dtype, device=found.device)
    usual, precision, thresholds = [], [], []
    for label, rows in enumerate(answered_as(answers, n_classes)):
        mean = found[:, rows, label].mean(dim=1)
        moved = found[:, rows, label] - mean[:, None]
        inverse = precision_of(moved)
        own = beyond(moved, residuals_without_itself(moved, inverse), mean)
        excess[:, answers == label] = own[:, (answers == label)[rows]]
        high = own.quantile(quantile, dim=1).clamp_(min=0)
        common = _of_the_median(high / shares) * shares
        thresholds.append(threshold * high.clamp(FLOOR * common, ceiling * common))
        usual.append(mean)
        precision.append(inverse)
    limits = torch.stack(thresholds, dim=1).clamp_(min=TINY)
    return Limits(torch.stack(usual, dim=1), torch.stack(precision), limits, excess)


def answered_as(answers: Tensor, n_classes: int) -> list[Tensor]:
    """Returns for each class which inputs speak for it, bool [n_inputs]: those answered so, or all where these are few.

    Args:
        answers: the class that the model answers to each clean input, [n_inputs].
        n_classes: how many there are.
    """
    own = [answers == label for label in range(n_classes)]
    return [which if int(which.sum()) >= FEW else torch.ones_like(which) for which in own]


def precision_of(moved: Tensor) -> Tensor:
    """Returns P, [m, m], of c_i - mu_i on the inputs that mu comes from, [m, n]."""
    covariance = moved @ moved.T / moved.shape[1]
    own = covariance.diagonal()
    ridge = RIDGE * torch.maximum(own, middle(own, dim=0)) + TINY**2
    return torch.linalg.inv(covariance + torch.diag(ridge))


def residuals_without_itself(moved: Tensor, precision: Tensor) -> Tensor:
    """Returns r of the inputs that P comes from, each as if it had not been among them, [m, n].

    A residual grows by 1 / (1 - its leverage) (Allen, 1974); P holds the leverages of all m regressions, too. The
    penalty stays that of all inputs.
    """
    n, own = moved.shape[1], precision.diagonal()[:, None]
    pulled = precision @ moved
    leverage = ((moved * pulled).sum(dim=0) - pulled**2 / own + 1) / n
    return pulled / own / (1 - leverage).clamp(min=TINY)


def _of_the_median(values: Tensor) -> Tensor:
    """Returns the median of those above 0: who never moves anything says nothing of what is usual."""
    some = values[values > 0]
    return middle(some, dim=0) if len(some) else values.new_zeros(())
