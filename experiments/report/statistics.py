"""Means with their 95 % intervals, and paired tests with Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

LEVEL = 0.95
ALPHA = 0.05
MOST_EXACT = 13  # pairs whose 2^n ways to sign are all counted
RESAMPLES = 2000
MIN_FOR_INTERVAL = 3
MIN_FOR_BOOTSTRAP = 5  # resamples of fewer values are too alike: their intervals are far too narrow


@dataclass(frozen=True)
class Estimate:
    """A mean, its 95 % interval (NaN where there are too few values for one), and of how many values."""

    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0

    @property
    def half_width(self) -> float:
        """How far the interval reaches to its further end."""
        return max(self.mean - self.low, self.high - self.mean)

    @property
    def has_interval(self) -> bool:
        """Whether there were enough values for an interval."""
        return not math.isnan(self.low)


def t_estimate(values: Sequence[float]) -> Estimate:
    """Returns the mean over seeds with Student's t interval, which three values are enough for; NaN are left out."""
    known = _known(values)
    mean = float(known.mean()) if known.size else math.nan
    if known.size < MIN_FOR_INTERVAL:
        return Estimate(mean, n=known.size)
    half = float(special.stdtrit(known.size - 1, (1 + LEVEL) / 2) * known.std(ddof=1) / math.sqrt(known.size))
    return Estimate(mean, mean - half, mean + half, known.size)


def bootstrap_estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Returns the mean over attacks and settings with the percentile interval of 2,000 resamples of them.

    They are a sample of what a rule may meet, and their values are far from normal (a backdoor takes or it does not),
    so the interval assumes no distribution. NaN are left out; five values are enough.
    """
    known = _known(values)
    mean = float(known.mean()) if known.size else math.nan
    if known.size < MIN_FOR_BOOTSTRAP:
        return Estimate(mean, n=known.size)
    result = stats.bootstrap(
        (known,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Estimate(mean, min(float(low), mean), max(float(high), mean), known.size)


def paired_t(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns the two-sided p value of the paired t test: 1 where all differences are 0, 0 where all are one other."""
    differences = np.asarray(first, float) - np.asarray(second, float)
    if np.ptp(differences) <= 1e-12:
        return float(abs(differences[0]) <= 1e-12)
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(differences.size))
    return float(2 * special.stdtr(differences.size - 1, -abs(t)))


def signed_rank(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns the two-sided p value of Wilcoxon's signed-rank test, zeros ranked after Pratt; 1 where all are 0.

    Exact up to 13 pairs, and up to 50 where no two differences are equal; the normal approximation beyond.
    """
    differences = np.asarray(first, float) - np.asarray(second, float)
    sizes = np.abs(differences)
    if sizes.max() <= 1e-12:
        return 1.0
    if sizes.size > MOST_EXACT or (sizes.min() > 0 and np.unique(sizes).size == sizes.size):
        return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)
    # scipy's own exact test with ties takes seconds; all 2^n signs of the same ranks take milliseconds.
    ranks = np.sign(differences) * stats.rankdata(sizes)
    exact = stats.permutation_test(
        (ranks,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    return float(exact.pvalue)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Returns Holm's adjusted p values [k] of k tests, in their order.

    The i-th smallest of k is multiplied by k - i + 1, and none falls below one before it. (statsmodels' function
    collects garbage at every call, which took most of a report's time.)
    """
    raw = np.asarray(p_values, float)
    order = raw.argsort()
    stepped = np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _known(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, float)
    return array[~np.isnan(array)]
