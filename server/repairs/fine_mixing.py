"""Fine-mixing: most weights go back to their pretrained values, and the rest is fine-tuned on clean data.

Source: Zhang et al., "Fine-mixing: Mitigating Backdoors in Fine-tuned Language Models", Findings of EMNLP 2022
(arXiv 2210.09545): w = m * w_B + (1 - m) * w_Pre with a random mask m, then fine-tuning; the share that is kept is
the smallest whose accuracy is still tolerable. The steps are the paper's; the choice by size of change and the
search (``search``) are reconstructed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Literal

import torch
from torch import Tensor

from hauberk.server.assets import ServerAssets
from hauberk.server.repairs._search import Search, check_folds, folded, smallest_good_share
from hauberk.server.repairs._tuning import TuningRepair, true_class_on
from hauberk.server.repairs.base import Report
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import draw
from hauberk.tasks.text.examples import Example

Choice = Literal["random", "change"]
GRID = tuple(step / 20 for step in range(21))


@dataclass(frozen=True, kw_only=True)
class FineMixing(TuningRepair):
    """Keeps a share of the fine-tuned weights, resets the others to the reference, and tunes on clean examples.

    The head has no pretrained value and is kept whole. Without a pretrained model the reference is the model before
    the first round.

    Args:
        keep: the share of fine-tuned weights to keep, in [0, 1]; "search" finds by bisection the smallest of 0, 0.05,
            ..., 1 whose model, mixed and tuned, is at most ``tolerance`` worse than the model before.
        choice: which weights are kept: "random" ones, or those whose "change" is the largest.
        tolerance: of the search, in the mean probability of the true class, which stands for the accuracy.
        doubt: how many standard errors of the judged loss are forgiven, as few examples cannot tell a small loss
            from none: the doubt speaks for the smaller share, which holds less of a backdoor (as in the
            one-standard-error rule of Breiman et al., "Classification and Regression Trees", 1984).
        folds: of the search: every clean example is judged once, by a model tuned on the other folds; the final
            model is tuned on all of them.
        trial_steps: of the search: ``max_steps`` of the models that are judged. Their accuracy is soon there; what
            longer tuning goes on to take away is the backdoor (measured on a validation split), which is why the
            final model is tuned for longer than those of other repairs.
    """

    keep: float | Literal["search"] = "search"
    choice: Choice = "random"
    tolerance: float = 0.04
    doubt: float = 0.5
    folds: int = 4
    trial_steps: int = 80
    epochs: int = 60
    max_steps: int = 240

    def __post_init__(self) -> None:
        """Refuses shares that are none."""
        super().__post_init__()
        if self.keep != "search" and not 0 <= self.keep <= 1:
            raise UserError(f"keep: must be 'search' or lie in [0, 1], got {self.keep!r}")
        if not 0 <= self.tolerance <= 1:
            raise UserError(f"tolerance: must lie in [0, 1], got {self.tolerance!r}")
        if not self.doubt >= 0:
            raise UserError(f"doubt: must be at least 0, got {self.doubt!r}")
        for key, least in (("folds", 2), ("trial_steps", 1)):
            if getattr(self, key) < least:
                raise UserError(f"{key}: must be at least {least}, got {getattr(self, key)!r}")

    @property
    def modality(self) -> str | None:  # type: ignore[override]
        """What data a task must have for it: texts where the search judges by the probability of the true class."""
        return "text" if self.keep == "search" else None

    @property
    def in_pieces(self) -> bool:  # type: ignore[override]
        """Whether workers can share its work: the folds of a search."""
        return self.keep == "search"

    def check(self, assets: ServerAssets) -> None:
        """Refuses to search with fewer clean examples than folds."""
        if self.keep == "search":
            check_folds(len(assets.clean), self.folds)

    def __call__(self, parameters: Tensor, assets: ServerAssets) -> tuple[Tensor, Report]:
        """Returns the mixed and tuned parameters [n_params], the share kept, and what the search saw."""
        order = self._order(parameters, assets)
        if self.keep != "search":
            mixed = mix(parameters, assets.reference, order, self.keep)
            return self.tuned(mixed, assets, assets.clean), {"keep": self.keep}
        keep, search = self._search(parameters, assets, order)
        mixed = mix(parameters, assets.reference, order, keep)
        report = {"keep": keep, "search": dict(sorted(search.curve.items())), "standard_error": search.error}
        return self.tuned(mixed, assets, assets.clean), report

    def _order(self, parameters: Tensor, assets: ServerAssets) -> Tensor:
        """Returns the positions of the weights that have a pretrained value, those to keep first."""
        body = (~assets.head).nonzero().flatten()
        if self.choice == "random":
            return body[torch.randperm(len(body), generator=assets.rng)]
        change = (parameters - assets.reference)[body].abs()
        return body[change.argsort(descending=True, stable=True)]

    def _search(self, parameters: Tensor, assets: ServerAssets, order: Tensor) -> tuple[float, Search]:
        """Returns the smallest share that is good enough, and what was tried."""
        folds = folded(assets.clean, self.folds, assets.rng)
        before = torch.cat([true_class_on(parameters, assets, fold) for fold in folds])
        search = Search(before, self.tolerance, self.doubt)

        def is_good(share: float) -> bool:
            mixed = mix(parameters, assets.reference, order, share)
            return search.is_good(share, self._judged(mixed, assets, folds))

        return smallest_good_share(GRID, is_good), search

    def _judged(self, mixed: Tensor, assets: ServerAssets, folds: Sequence[Sequence[Example]]) -> Tensor:
        """Returns each clean example's probability of its class by a model not tuned on it, float64 [n]."""
        pieces = []
        for number, fold in enumerate(folds):
            others = [example for other, part in enumerate(folds) if other != number for example in part]
            pieces.append((replace(self, max_steps=self.trial_steps), others, fold, draw(assets.rng)))
        return torch.cat(assets.spread(judged_fold, assets, mixed, pieces))


def judged_fold(
    assets: ServerAssets,
    mixed: Tensor,
    trial: FineMixing,
    others: Sequence[Example],
    fold: Sequence[Example],
    seed: int,
) -> Tensor:
    """Returns the probability of its class for each example of ``fold``, by ``mixed`` tuned on the ``others``."""
    assets = assets.with_rng(torch.Generator().manual_seed(seed))
    return true_class_on(trial.tuned(mixed, assets, others), assets, fold)


def mix(parameters: Tensor, reference: Tensor, order: Tensor, keep: float) -> Tensor:
    """Returns ``parameters`` [n_params] with all of ``order`` but its first floor(keep * len) from ``reference``."""
    mixed = parameters.clone()
    reset = order[floor(keep * len(order)) :]
    mixed[reset] = reference[reset]
    return mixed
