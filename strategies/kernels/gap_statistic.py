"""Whether numbers are of one group or of more, and which are of the higher of two.

Source: Tibshirani, Walther and Hastie, "Estimating the Number of Clusters in a Data Set via the Gap Statistic", Journal
of the Royal Statistical Society B 63, 2001. The best two groups of numbers on a line are found exactly, by trying
every place to part them, where k-means begins at random and may stay short of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

REFERENCES = 10
TINY = 1e-12  # of a sum of squares of numbers between 0 and 1


def more_than_one_group(values: Tensor, rng: torch.Generator) -> bool:
    """Returns whether one group fits ``values`` [n] worse than chance says: Gap(1) < Gap(2) - s(2).

    Values are moved and scaled to [0, 1], where the references are drawn. Gap(k) = log(mean W'(k)) - log W(k), W(k) the
    least sum of squares around k means and W' that of each reference: the logarithm of the mean, as the code of
    FLDetector has it, where Tibshirani et al. have the mean of the logarithms.

    Args:
        values: fewer than three are one group, and so are equal ones.
        rng: draws the references.
    """
    values = values.double().cpu()
    spread = float(values.max() - values.min()) if len(values) else 0.0
    if len(values) < 3 or not spread:
        return False
    own = least_squares((values - values.min()) / spread)
    drawn = torch.rand(REFERENCES, len(values), generator=rng, dtype=torch.float64)
    others = torch.stack([least_squares(reference) for reference in drawn])
    gap = others.mean(dim=0).log() - own.log()
    error = (1 + 1 / REFERENCES) ** 0.5 * others[:, 1].log().std(correction=0)
    return bool(gap[0] < gap[1] - error)


def least_squares(values: Tensor) -> Tensor:
    """Returns the least sums of squares of ``values`` [n], n >= 2, around one mean and around two, float64 [2]."""
    parted = _parted(values.sort().values)
    return torch.stack([parted[-1], parted[:-1].min()]).clamp(min=TINY)


def higher_of_two(values: Tensor) -> Tensor:
    """Returns which of ``values`` [n], n >= 2, are in the higher one of the two groups that fit them best, bool [n]."""
    ordered = values.sort().values
    return values > ordered[_parted(ordered)[:-1].argmin()]


def _parted(ordered: Tensor) -> Tensor:
    """Returns the sum of squares around two means if the first 1, 2, ..., n of sorted numbers are one group, [n]."""
    centred = ordered.double() - ordered.double().mean()
    n, low = len(ordered), torch.arange(1, len(ordered) + 1, device=ordered.device)
    sums = centred.cumsum(0)
    explained = sums.square() / low + (sums[-1] - sums).square() / (n - low).clamp(min=1)
    return (centred.square().sum() - explained).clamp_(min=0)
