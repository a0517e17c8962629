import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from hauberk.experiments.report.statistics import (
    bootstrap_estimate,
    holm,
    paired_t,
    signed_rank,
    t_estimate,
)

shares = st.floats(0, 1)
p_values = st.lists(shares, min_size=1, max_size=30)


def test_three_seeds_have_the_interval_of_a_hand_calculation():
    # Mean 2, standard deviation 1, standard error 1 / sqrt 3; t(.975, 2) = 4.3027.
    estimate = t_estimate([1.0, 2.0, 3.0])
    assert estimate.mean == 2
    assert estimate.half_width == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert (estimate.low + estimate.high) / 2 == pytest.approx(2)


def test_two_seeds_have_a_mean_and_no_interval():
    estimate = t_estimate([1.0, 3.0, math.nan])
    assert (estimate.mean, estimate.n, estimate.has_interval) == (2, 2, False)


@pytest.mark.parametrize("estimate", [t_estimate, bootstrap_estimate])
def test_nothing_has_no_mean(estimate):
    assert math.isnan(estimate([]).mean)
    assert not estimate([math.nan]).has_interval


@pytest.mark.parametrize("estimate", [t_estimate, bootstrap_estimate])
def test_equal_values_have_an_interval_of_no_width(estimate):
    assert (estimate([0.25] * 6).low, estimate([0.25] * 6).high) == (0.25, 0.25)


@given(st.lists(shares, min_size=3, max_size=12))
def test_a_t_interval_holds_the_mean_in_its_middle(values):
    estimate = t_estimate(values)
    assert estimate.low <= estimate.mean <= estimate.high
    assert estimate.mean - estimate.low == pytest.approx(estimate.high - estimate.mean)


@given(st.lists(shares, min_size=5, max_size=8))
def test_a_bootstrap_interval_holds_the_mean_and_stays_among_the_values(values):
    estimate = bootstrap_estimate(values)
    assert estimate.low <= estimate.mean <= estimate.high
    assert min(values) - 1e-12 <= estimate.low
    assert estimate.high <= max(values) + 1e-12


def test_the_bootstrap_of_many_normal_values_is_close_to_the_t_interval():
    values = np.random.default_rng(0).normal(size=400)
    assert bootstrap_estimate(values).half_width == pytest.approx(t_estimate(values).half_width, rel=0.1)


def test_holm_of_a_textbook_case():
    # Sorted .01, .02, .04 times 3, 2, 1 = .03, .04, .04.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]).size == 0


@settings(max_examples=5)  # statsmodels' takes a tenth of a second
@given(p_values)
def test_holm_agrees_with_statsmodels(values):
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1])


@given(p_values)
def test_holm_keeps_the_order_and_never_lowers_a_p_value(values):
    raw, adjusted = np.array(values), holm(values)
    assert (adjusted >= raw - 1e-15).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[raw.argsort(kind="stable")]) >= 0).all()


def test_the_paired_t_test_of_a_hand_calculation():
    # Differences 1, 2, 3: t = 2 / (1 / sqrt 3) = 3.4641 with 2 degrees of freedom, p = .0742.
    assert paired_t([2, 4, 6], [1, 2, 3]) == pytest.approx(0.0742, abs=1e-4)
    assert paired_t([2, 4, 6], [1, 2, 3]) == pytest.approx(stats.ttest_rel([2, 4, 6], [1, 2, 3]).pvalue)


@pytest.mark.parametrize("test", [paired_t, signed_rank])
def test_rules_that_agree_everywhere_are_not_told_apart(test):
    assert test([0.1, 0.2, 0.3], [0.1, 0.2, 0.3]) == 1


def test_one_difference_everywhere_is_certain():
    assert paired_t([0.2, 0.3, 0.4], [0.1, 0.2, 0.3]) == 0


def test_the_signed_rank_test_of_pairs_that_all_agree_is_two_in_two_to_the_n():
    values = np.array([0.1, 0.25, 0.31, 0.47, 0.58, 0.9])
    assert signed_rank(values, np.zeros(6)) == pytest.approx(2 / 2**6)


@settings(max_examples=50)
@given(st.lists(st.tuples(shares, shares), min_size=3, max_size=8))
def test_who_comes_first_does_not_matter(pairs):
    first, second = zip(*pairs, strict=True)
    for test in (paired_t, signed_rank):
        assert test(first, second) == pytest.approx(test(second, first))
        assert 0 <= test(first, second) <= 1


def test_the_signed_rank_test_counts_the_signs_of_all_ways():
    # Of the 2^4 ways to sign ranks 1 to 4, those whose positive ranks sum to at most 1 or at least 9.
    sums = [
        sum(rank for rank, sign in zip(range(1, 5), way, strict=True) if sign)
        for way in itertools.product((0, 1), repeat=4)
    ]
    share = sum(total <= 1 or total >= 9 for total in sums) / len(sums)
    assert signed_rank([-1.0, 2.0, 3.0, 4.0], [0.0] * 4) == pytest.approx(share)


@pytest.mark.parametrize("differences", [[0.0, 0.0, 1.0, 2.0, 3.0, -4.0], [1.0, 1.0, 2.0, -2.0, 5.0]])
def test_the_signed_rank_test_with_zeros_and_ties_is_scipy_s(differences):
    expected = stats.wilcoxon(differences, zero_method="pratt").pvalue
    assert signed_rank(differences, np.zeros(len(differences))) == pytest.approx(expected)
