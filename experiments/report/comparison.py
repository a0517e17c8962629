"""Which rules differ: paired tests on the same seeds and attacks, with Holm's correction."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hauberk.experiments.report.statistics import ALPHA, MIN_FOR_INTERVAL, holm, paired_t, signed_rank

BEST, TIED, WORSE, UNTESTED = "best", "tied", "worse", ""


@dataclass(frozen=True)
class PairedTests:
    """Every rule against every other.

    Attributes:
        p_values: Holm's adjusted p values [rules, rules], 1 on the diagonal; all 1 where no test was possible.
        test: which test it was, on what, and why.
    """

    p_values: pd.DataFrame
    test: str


def compare_rules(scores: pd.DataFrame) -> PairedTests:
    """Returns the paired tests between rules.

    The unit is the scenario, since seeds of one attack resemble each other, and the signed-rank test asks no
    distribution of it. Where there are too few scenarios for that test to find anything after Holm's correction,
    it is the paired t test over seeds: it speaks of these attacks alone, and takes the differences to be normal.

    Args:
        scores: a column a rule, a row a pair of scenario (an attack in a setting) and seed, which are the levels
            of its index, "seed" the last; no NaN.
    """
    by_scenario, by_seed = mean_by_scenario(scores), mean_by_seed(scores)
    n, n_pairs = len(by_scenario), math.comb(scores.shape[1], 2)
    scenarios = f"{n} scenario{'s' if n > 1 else ''}"
    if n_pairs * smallest_signed_rank_p(n) < ALPHA:
        text = f"Wilcoxon's signed-rank test on {scenarios}, each the mean of its seeds"
        return PairedTests(_all_pairs(by_scenario, signed_rank), text)
    if len(by_seed) >= MIN_FOR_INTERVAL:
        text = (
            f"paired t test on {len(by_seed)} seeds, each the mean of {scenarios} (with {scenarios} and "
            f"{n_pairs} pair{'s' if n_pairs > 1 else ''} of rules a signed-rank test could never reach p < {ALPHA})"
        )
        return PairedTests(_all_pairs(by_seed, paired_t), text)
    text = f"no test: {scenarios} and {len(by_seed)} seeds that all rules have finished are too few"
    return PairedTests(pd.DataFrame(1.0, index=scores.columns, columns=scores.columns), text)


def smallest_signed_rank_p(n: int) -> float:
    """Returns the smallest two-sided p value that the signed-rank test of n pairs can have: all signs agree."""
    return 2.0 ** (1 - n)


def mean_by_scenario(scores: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean over seeds of every scenario."""
    levels = [name for name in scores.index.names if name != "seed"]
    return scores.groupby(level=levels, sort=False).mean()


def mean_by_seed(scores: pd.DataFrame) -> pd.DataFrame:
    """Returns the mean over scenarios of every seed that has all of them, so that seeds are alike."""
    n_scenarios = len(mean_by_scenario(scores))
    sizes = scores.groupby(level="seed").size()
    return scores.groupby(level="seed").mean()[sizes == n_scenarios]


def mark_ties(by_seed: pd.DataFrame, *, higher_is_better: bool) -> dict[str, str]:
    """Returns of each rule whether it is the best, "tied" with the best, "worse", or "" where nothing could be tested.

    A rule alone is the best of nothing and has no mark.

    Tied means that the paired t test against the best on their common seeds, with Holm's correction for all
    rules that are so compared, does not tell them apart. With three seeds it is the t test, since the signed-rank
    test of three pairs cannot go below p = .25; it takes the differences to be normal.

    Args:
        by_seed: a column a rule, a row a seed; NaN where a rule has not finished.
        higher_is_better: the metric's direction.
    """
    means = by_seed.mean().dropna()
    if len(means) < 2:
        return {}
    best = means.idxmax() if higher_is_better else means.idxmin()
    p_values = {}
    first = by_seed[best].to_numpy(float)
    for rule in means.index.drop(best):
        second = by_seed[rule].to_numpy(float)
        both = ~(np.isnan(first) | np.isnan(second))
        if both.sum() >= MIN_FOR_INTERVAL:
            p_values[rule] = paired_t(first[both], second[both])
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    marks = {rule: TIED if p >= ALPHA else WORSE for rule, p in adjusted.items()}
    return {rule: BEST if rule == best else marks.get(rule, UNTESTED) for rule in means.index}


def _all_pairs(
    scores: pd.DataFrame, test: Callable[[Sequence[float], Sequence[float]], float]
) -> pd.DataFrame:
    rules = list(scores.columns)
    pairs = list(itertools.combinations(rules, 2))
    raw = [test(scores[first].to_numpy(), scores[second].to_numpy()) for first, second in pairs]
    table = pd.DataFrame(1.0, index=rules, columns=rules)
    for (first, second), p in zip(pairs, holm(raw), strict=True):
        table.loc[first, second] = table.loc[second, first] = p
    return table
