"""How likely a count is, where what is known of its rate is another count."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def log_tail_probability(counts: Tensor, n: int, known: Tensor, n_known: int) -> Tensor:
    """Returns the logarithm of the probability of at least so many of ``n`` trials, float64 [k].

    The rate is that of ``known`` of ``n_known`` trials before, every rate having been as likely beforehand: counts are
    beta-binomial, with 1 + known and 1 + n_known - known. A sum of the tail's own terms: one less the rest of them
    would be rounding noise where it is small, and small ones are compared.

    Args:
        counts: int64 [k].
        n: trials.
        known: int64 [k].
        n_known: trials before.
    """
    from scipy.special import logsumexp  # half a second that nobody else need wait for
    from scipy.stats import betabinom

    found = [
        logsumexp(betabinom.logpmf(np.arange(count, n + 1), n, 1 + before, 1 + n_known - before))
        for count, before in zip(counts.tolist(), known.tolist(), strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64)
