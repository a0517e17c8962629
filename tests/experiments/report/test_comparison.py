import numpy as np
import pandas as pd
import pytest

from hauberk.experiments.report.comparison import BEST, TIED, UNTESTED, WORSE, compare_rules, mark_ties


def scores(n_scenarios, n_seeds, **rules):
    """A frame in which each rule has its value plus a little of its own noise."""
    index = pd.MultiIndex.from_product([range(n_scenarios), range(n_seeds)], names=["attack", "seed"])
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {rule: value + 0.01 * rng.standard_normal(len(index)) for rule, value in rules.items()}, index
    )


def test_with_many_scenarios_it_is_the_signed_rank_test():
    tests = compare_rules(scores(8, 2, good=0.1, bad=0.9))
    assert "signed-rank test on 8 scenarios" in tests.test
    assert tests.p_values.loc["good", "bad"] == pytest.approx(2 / 2**8)


def test_where_the_signed_rank_test_could_find_nothing_it_is_the_t_test_over_seeds():
    # Six scenarios: 3 pairs times 2 / 2^6 is .094.
    tests = compare_rules(scores(6, 3, good=0.1, fair=0.5, bad=0.9))
    assert "paired t test on 3 seeds" in tests.test
    assert (tests.p_values.to_numpy()[~np.eye(3, dtype=bool)] < 0.01).all()


def test_too_little_is_no_test_and_says_so():
    tests = compare_rules(scores(2, 2, good=0.1, bad=0.9))
    assert "no test" in tests.test
    assert (tests.p_values == 1).all(axis=None)


def test_a_seed_that_lacks_a_scenario_is_no_pair_of_the_t_test():
    frame = scores(2, 4, good=0.1, bad=0.9).drop(index=(1, 3))
    assert "on 3 seeds" in compare_rules(frame).test


def seeds(**rules):
    return pd.DataFrame(rules, index=pd.Index([0, 1, 2], name="seed"))


def test_the_best_the_tied_and_the_worse():
    by_seed = seeds(a=[0.10, 0.11, 0.12], b=[0.10, 0.13, 0.11], c=[0.50, 0.52, 0.51])
    assert mark_ties(by_seed, higher_is_better=False) == {"a": BEST, "b": TIED, "c": WORSE}
    assert mark_ties(by_seed, higher_is_better=True) == {"a": WORSE, "b": WORSE, "c": BEST}


def test_holm_makes_a_difference_less_certain_the_more_rules_there_are():
    # Alone, the differences .10, .12, .14 have p = .0093; among ten of their like it is ten times that.
    best, other = [0.1, 0.1, 0.1], [0.20, 0.22, 0.24]
    assert mark_ties(seeds(best=best, other=other), higher_is_better=False)["other"] == WORSE
    many = {f"other{i}": other for i in range(10)}
    assert mark_ties(seeds(best=best, **many), higher_is_better=False)["other0"] == TIED


def test_too_few_common_seeds_leave_a_rule_untested():
    by_seed = seeds(a=[0.1, 0.1, 0.1], b=[0.5, 0.6, np.nan], c=[np.nan] * 3)
    assert mark_ties(by_seed, higher_is_better=False) == {"a": BEST, "b": UNTESTED}


def test_a_rule_alone_is_the_best_of_nothing():
    assert mark_ties(seeds(a=[0.1, 0.2, 0.3]), higher_is_better=True) == {}
