"""DimKrumProjection: back to the honest mean in the dimensions that stick out most.

An adaptive attack on Dim-Krum (Zhang, Su and Sun, Findings of EMNLP 2022) that leaves the rule's dimensions clean;
its form is a reconstruction, in which the attacker estimates the honest update from clean data of its own. Here it
is given the true mean of the honest updates, so that this is the stronger form.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.attacks.forges._dim_krum_bound import DimKrumForge
from hauberk.attacks.forges._moments import mean_of
from hauberk.attacks.forges.base import Collusion


@dataclass(frozen=True, kw_only=True)
class DimKrumProjection(DimKrumForge):
    """Takes the honest mean in the top dimensions of |own - mu|: ratio of them, then twice as many, until it passes.

    Args:
        search: whether to go on after the first ``ratio`` of the dimensions.
    """

    search: bool = True

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns the projected rows [m, d]; nothing is random here."""
        mean = mean_of(collusion.benign)
        ranked = [(own - mean).abs_().sort(descending=True).values for own in collusion.own]
        n_params = len(mean)
        k = max(1, int(self.ratio * n_params))
        while True:
            rows = collusion.own.clone()
            for row, values in zip(rows, ranked, strict=True):
                out = (row - mean).abs_() >= values[k - 1]
                row[out] = mean[out]
            if not self.search or k == n_params or self.would_be_kept(rows, collusion):
                return rows
            k = min(2 * k, n_params)
