"""The search for the smallest share of weights whose model is still good enough, judged on few examples.

Reconstructed: the paper of Fine-mixing gives the criterion, the smallest share whose accuracy is tolerable, and judges
it on a large development set. With 64 examples a loss of accuracy has a standard error of four to five points, as
much as is to be judged; the mean probability of the true class has a smaller one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example


@dataclass
class Search:
    """What was tried so far.

    Attributes:
        best: each example's probability of its true class, float64 [n], by the best model seen: the one before the
            repair, unless the few examples flatter that of some share more.
        tolerance: by how much lower the mean may be.
        doubt: how many standard errors of the difference are forgiven.
        curve: the mean probability by share.
        error: the standard error of the last difference.
    """

    best: Tensor
    tolerance: float
    doubt: float
    curve: dict[str, float] = field(default_factory=dict)
    error: float = 0.0

    def is_good(self, share: float, answers: Tensor) -> bool:
        """Returns whether ``answers`` [n] are good enough, and remembers them."""
        self.curve[f"{share:.2f}"] = float(answers.mean())
        if answers.mean() > self.best.mean():
            self.best = answers
        loss = self.best - answers
        self.error = float(loss.std(correction=0)) / len(loss) ** 0.5
        return float(loss.mean()) - self.doubt * self.error <= self.tolerance


def smallest_good_share(shares: Sequence[float], is_good: Callable[[float], bool]) -> float:
    """Returns the smallest of the ascending ``shares`` that is good, by bisection; the last is, without a trial."""
    low, high = 0, len(shares) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_good(shares[middle]) else (middle + 1, high)
    return shares[low]


def folded(examples: Sequence[Example], n_folds: int, rng: torch.Generator) -> list[list[Example]]:
    """Returns the examples dealt at random to folds of equal size, or one less.

    Raises:
        UserError: if there are fewer examples than folds.
    """
    check_folds(len(examples), n_folds)
    order = torch.randperm(len(examples), generator=rng).tolist()
    return [[examples[i] for i in order[start::n_folds]] for start in range(n_folds)]


def check_folds(n_examples: int, n_folds: int) -> None:
    """Raises UserError unless there is an example for every fold."""
    if n_examples < n_folds:
        raise UserError(
            f"fine_mixing: a search with {n_folds} folds needs at least {n_folds} clean examples, got {n_examples}"
        )
