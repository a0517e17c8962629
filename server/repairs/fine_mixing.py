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
from hauberk.server.repairs.tuning import TuningRepair, accuracy_on
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
        keep: the share of fine-tuned weights to keep, in [0, 1]; "search" finds the smallest of 0, 0.05, ..., 1
            whose model, mixed and tuned, loses at most ``tolerance`` of accuracy.
        choice: which weights are kept: "random" ones, or those whose "change" is the largest.
        tolerance: of the search, in accuracy.
        validation: the share of the clean examples, drawn at random, on which the search judges; the final model is
            tuned on all of them.
    """

    keep: float | Literal["search"] = "search"
    choice: Choice = "random"
    tolerance: float = 0.04
    validation: float = 0.5

    def __post_init__(self) -> None:
        """Refuses shares that are none."""
        super().__post_init__()
        if self.keep != "search" and not 0 <= self.keep <= 1:
            raise UserError(f"keep: must be 'search' or lie in [0, 1], got {self.keep!r}")
        if not 0 <= self.tolerance <= 1:
            raise UserError(f"tolerance: must lie in [0, 1], got {self.tolerance!r}")
        if not 0 < self.validation < 1:
            raise UserError(f"validation: must lie between 0 and 1, got {self.validation!r}")

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
        judged, tuned_on = split(context.clean, self.validation, context.rng)
        wanted = accuracy_on(parameters, context, judged) - self.tolerance
        curve: dict[str, float] = {}
        for keep in GRID:
            mixed = mix(parameters, context.reference, order, keep)
            found = accuracy_on(self.tuned(mixed, context, tuned_on), context, judged)
            curve[f"{keep:.2f}"] = found
            if found >= wanted:
                return keep, curve
        return GRID[-1], curve


def mix(parameters: Tensor, reference: Tensor, order: Tensor, keep: float) -> Tensor:
    """Returns ``parameters`` [n_params] with all of ``order`` but its first floor(keep * len) from ``reference``."""
    mixed = parameters.clone()
    reset = order[floor(keep * len(order)) :]
    mixed[reset] = reference[reset]
    return mixed


def split(
    examples: Sequence[Example], share: float, rng: torch.Generator
) -> tuple[list[Example], list[Example]]:
    """Returns a random ``share`` of the examples, at least one, and the others.

    Raises:
        UserError: if there are fewer than two.
    """
    if len(examples) < 2:
        raise UserError(f"fine_mixing needs at least 2 clean examples to search, got {len(examples)}")
    order = torch.randperm(len(examples), generator=rng).tolist()
    n = min(max(1, round(share * len(examples))), len(examples) - 1)
    return [examples[i] for i in order[:n]], [examples[i] for i in order[n:]]
