"""Fine-mixing: most weights go back to their pretrained values, and the rest is fine-tuned on clean data.

Source: Zhang et al., "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models", Findings of EMNLP 2022
(arXiv 2210.09545): w = m * w_B + (1 - m) * w_Pre with a random mask m, then fine-tuning; the share that is kept is
the smallest whose accuracy is still tolerable. The steps are the paper's; the choice by size of change and the
grid of the search are reconstructed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Literal

import torch
from torch import Tensor

from hauberk.server.repairs.base import Context, Report
from hauberk.server.repairs.tuning import TuningRepair, right_on
from hauberk.tasks.errors import UserError
from hauberk.tasks.examples import Example

Choice = Literal["random", "change"]
GRID = tuple(step / 20 for step in range(21))


@dataclass(frozen=True, kw_only=True)
class FineMixing(TuningRepair):
    """Keeps a share of the fine-tuned weights, resets the others to the reference, and tunes on clean examples.

    The head has no pretrained value and is kept whole. Without a pretrained model the reference is the model before
    the first round.

    Args:
        keep: the share of fine-tuned weights to keep, in [0, 1]; "search" finds by bisection the smallest of 0, 0.05,
            ..., 1 whose model, mixed and tuned, loses no more than ``tolerance`` of accuracy.
        choice: which weights are kept: "random" ones, or those whose "change" is the largest.
        tolerance: of the search, in accuracy.
        doubt: how many standard errors of the measured loss are forgiven; see ``tolerable``. On a validation split
            none kept the backdoor, and one threw the task away with it.
        folds: of the search: every clean example is judged once, by a model tuned on the other folds; the final
            model is tuned on all of them.
    """

    keep: float | Literal["search"] = "search"
    choice: Choice = "random"
    tolerance: float = 0.04
    doubt: float = 0.5
    folds: int = 4

    def __post_init__(self) -> None:
        """Refuses shares that are none."""
        super().__post_init__()
        if self.keep != "search" and not 0 <= self.keep <= 1:
            raise UserError(f"keep: must be 'search' or lie in [0, 1], got {self.keep!r}")
        if not 0 <= self.tolerance <= 1:
            raise UserError(f"tolerance: must lie in [0, 1], got {self.tolerance!r}")
        if not self.doubt >= 0:
            raise UserError(f"doubt: must be at least 0, got {self.doubt!r}")
        if self.folds < 2:
            raise UserError(f"folds: must be at least 2, got {self.folds!r}")

    def __call__(self, parameters: Tensor, context: Context) -> tuple[Tensor, Report]:
        """Returns the mixed and tuned parameters [n_params], the share kept, and the curve of the search."""
        order = self._order(parameters, context)
        if self.keep != "search":
            mixed = mix(parameters, context.reference, order, self.keep)
            return self.tuned(mixed, context, context.clean), {"keep": self.keep}
        keep, curve = self._search(parameters, context, order)
        mixed = mix(parameters, context.reference, order, keep)
        return self.tuned(mixed, context, context.clean), {"keep": keep, "search": curve}

    def _order(self, parameters: Tensor, context: Context) -> Tensor:
        """Returns the positions of the weights that have a pretrained value, those to keep first."""
        body = (~context.head).nonzero().flatten()
        if self.choice == "random":
            return body[torch.randperm(len(body), generator=context.rng)]
        change = (parameters - context.reference)[body].abs()
        return body[change.argsort(descending=True, stable=True)]

    def _search(self, parameters: Tensor, context: Context, order: Tensor) -> tuple[float, dict[str, float]]:
        """Returns the smallest share that is good enough, and the accuracy of each that was tried."""
        folds = folded(context.clean, self.folds, context.rng)
        before = torch.cat([right_on(parameters, context, fold) for fold in folds])
        curve: dict[str, float] = {}

        def good(step: int) -> bool:
            mixed = mix(parameters, context.reference, order, GRID[step])
            after = self._judged(mixed, context, folds)
            curve[f"{GRID[step]:.2f}"] = float(after.double().mean())
            return tolerable(before, after, self.tolerance, self.doubt)

        low, high = 0, len(GRID) - 1  # all of the weights are good enough without a trial
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if good(middle) else (middle + 1, high)
        return GRID[low], dict(sorted(curve.items()))

    def _judged(self, mixed: Tensor, context: Context, folds: Sequence[Sequence[Example]]) -> Tensor:
        """Returns which clean examples are answered rightly, each by a model that was not tuned on it, bool [n]."""
        right = []
        for number, fold in enumerate(folds):
            others = [example for other, part in enumerate(folds) if other != number for example in part]
            right.append(right_on(self.tuned(mixed, context, others), context, fold))
        return torch.cat(right)


def tolerable(before: Tensor, after: Tensor, tolerance: float, doubt: float) -> bool:
    """Returns whether the loss of accuracy, less ``doubt`` standard errors of it, is at most ``tolerance``.

    Few examples cannot tell a small loss from none; the doubt speaks for the smaller share, which holds less of a
    backdoor (as does the one-standard-error rule of Breiman et al., "Classification and Regression Trees", 1984).

    Args:
        before: which examples were answered rightly, bool [n].
        after: which are now, bool [n].
        tolerance: in accuracy.
        doubt: how many standard errors are forgiven.
    """
    loss = before.double() - after.double()
    error = float(loss.std(correction=0)) / len(loss) ** 0.5
    return float(loss.mean()) - doubt * error <= tolerance


def mix(parameters: Tensor, reference: Tensor, order: Tensor, keep: float) -> Tensor:
    """Returns ``parameters`` [n_params] with all of ``order`` but its first floor(keep * len) from ``reference``."""
    mixed = parameters.clone()
    reset = order[floor(keep * len(order)) :]
    mixed[reset] = reference[reset]
    return mixed


def folded(examples: Sequence[Example], n_folds: int, rng: torch.Generator) -> list[list[Example]]:
    """Returns the examples dealt at random to folds of equal size, or one less.

    Raises:
        UserError: if there are fewer examples than folds.
    """
    if len(examples) < n_folds:
        raise UserError(
            f"fine_mixing: a search with {n_folds} folds needs at least {n_folds} clean examples, got {len(examples)}"
        )
    order = torch.randperm(len(examples), generator=rng).tolist()
    return [[examples[i] for i in order[start::n_folds]] for start in range(n_folds)]
