"""How likely a count is, where what is known of its rate is another count."""

from __future__ import annotations

import torch
from torch import Tensor


def tail_probability(counts: Tensor, n: int, known: Tensor, n_known: int) -> Tensor:
    """Returns the probability of at least so many of ``n`` trials, float64 [k].

    The rate is that of ``known`` of ``n_known`` trials before, every rate having been as likely beforehand: counts are
    beta-binomial, with 1 + known and 1 + n_known - known.

    Args:
        counts: int64 [k].
        n: trials.
        known: int64 [k].
        n_known: trials before.
    """
    from scipy.stats import betabinom  # half a second that nobody else need wait for

    found = betabinom.sf(counts.numpy() - 1, n, 1 + known.numpy(), 1 + n_known - known.numpy())
    return torch.as_tensor(found, dtype=torch.float64)
