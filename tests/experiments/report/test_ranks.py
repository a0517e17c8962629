import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hauberk.experiments.report.frames import NOBODY_LIES, read_frames
from hauberk.experiments.report.metrics import ABOVE_NATURAL
from hauberk.experiments.report.rank_figure import rank_figure
from hauberk.experiments.report.ranks import boards, joined_runs, rank_rules
from tests.helpers.bench_frames import ACCURACY, DEFAULT_METRICS, benchmark_frames, with_status


def frame(values, rules):
    """Values [n_scenarios, n_seeds, n_rules] with their index."""
    n_scenarios, n_seeds, n_rules = values.shape
    index = pd.MultiIndex.from_product(
        [[f"attack{i}" for i in range(n_scenarios)], range(n_seeds)], names=["attack", "seed"]
    )
    return pd.DataFrame(values.reshape(-1, n_rules), index, rules)


def test_average_ranks_of_a_hand_calculation():
    # Two scenarios of one seed: a is first and last, b second twice, c last and first.
    ranking = rank_rules(frame(np.array([[[0.1, 0.2, 0.3]], [[0.9, 0.5, 0.4]]]), list("abc")), ABOVE_NATURAL)
    assert {one.rule: one.rank.mean for one in ranking.standings} == {"a": 2, "b": 2, "c": 2}
    worst = {one.rule: (one.worst.mean, one.worst_where) for one in ranking.standings}
    assert worst == {"a": (0.9, "attack1"), "b": (0.5, "attack1"), "c": (0.4, "attack1")}


def test_the_worst_case_is_the_lowest_accuracy():
    ranking = rank_rules(frame(np.array([[[0.7, 0.8]], [[0.9, 0.6]]]), list("ab")), ACCURACY)
    assert {one.rule: one.worst.mean for one in ranking.standings} == {"a": 0.7, "b": 0.6}


@settings(max_examples=40)
@given(
    arrays.arrays(
        float, st.tuples(st.integers(1, 8), st.integers(1, 3), st.integers(1, 5)), elements=st.floats(0, 1)
    )
)
def test_average_ranks_sum_to_what_ranks_sum_to(values):
    n_rules = values.shape[2]
    ranking = rank_rules(frame(values, [f"rule{i}" for i in range(n_rules)]), ACCURACY)
    ranks = [one.rank for one in ranking.standings]
    assert sum(rank.mean for rank in ranks) == pytest.approx(n_rules * (n_rules + 1) / 2)
    assert [rank.mean for rank in ranks] == sorted(rank.mean for rank in ranks)
    assert all(1 <= rank.low <= rank.mean <= rank.high <= n_rules for rank in ranks if rank.has_interval)
    assert all(one.letters for one in ranking.standings)


def test_rules_that_differ_everywhere_share_no_letter():
    rng = np.random.default_rng(0)
    values = np.array([0.1, 0.5, 0.9]) + 0.01 * rng.standard_normal((12, 3, 3))
    ranking = rank_rules(frame(values, ["good", "fair", "bad"]), ABOVE_NATURAL)
    assert [(one.rule, one.letters) for one in ranking.standings] == [
        ("good", "a"),
        ("fair", "b"),
        ("bad", "c"),
    ]


def test_runs_of_rules_that_cannot_be_told_apart():
    # a and b alike, b and c alike, a and c not, d alone: two bars that share b, and one rule by itself.
    p_values = pd.DataFrame(
        [[1, 0.5, 0.01, 0.01], [0.5, 1, 0.5, 0.01], [0.01, 0.5, 1, 0.01], [0.01, 0.01, 0.01, 1]],
        list("abcd"),
        list("abcd"),
    )
    assert joined_runs(p_values) == [["a", "b"], ["b", "c"], ["d"]]


@settings(max_examples=60)
@given(st.integers(1, 9), st.data())
def test_every_rule_is_in_a_run_and_no_run_joins_rules_that_differ(n, data):
    upper = np.triu(data.draw(arrays.arrays(float, (n, n), elements=st.sampled_from([0.01, 0.5]))), 1)
    p_values = pd.DataFrame(upper + upper.T + np.eye(n))
    runs = joined_runs(p_values)
    assert sorted({rule for run in runs for rule in run}) == list(range(n))
    assert all((p_values.loc[run, run] >= 0.05).all(axis=None) for run in runs)
    assert not any(set(one) < set(other) for one in runs for other in runs)


def test_a_rule_with_less_than_half_of_its_cells_is_left_out_and_hides_no_other():
    values = np.random.default_rng(0).random((4, 3, 3))
    values[1:, :, 2] = np.nan
    ranking = rank_rules(frame(values, list("abc")), ACCURACY)
    assert ranking.left_out == {"c": "finished 3 of 12 cells: not ranked"}
    assert {one.rule for one in ranking.standings} == {"a", "b"}
    assert ranking.unit == "12 pairs of scenario and seed"


def test_nothing_finished_is_no_ranking():
    assert rank_rules(frame(np.full((2, 2, 2), np.nan), list("ab")), ACCURACY) is None


@pytest.fixture(scope="module")
def found():
    cells, rounds = benchmark_frames()
    return boards(read_frames(with_status(cells, "missing", rule="krum"), rounds, DEFAULT_METRICS))


def test_rules_of_different_threat_models_are_never_ranked_together(found):
    by_label = {(board.needs, board.knowledge): board for board in found}
    assert set(by_label) == {
        (needs, knowledge)
        for needs in ("nothing", "f", "clean data")
        for knowledge in ("own data", "all paraphrases", NOBODY_LIES)
    }
    rules = {label: {one.rule for one in board.rankings[0].standings} for label, board in by_label.items()}
    assert rules["nothing", "own data"] == {"fedavg", "median", "flame"}
    assert rules["f", "all paraphrases"] == {"multi_krum", "dim_krum", "trimmed_mean"}
    assert rules["clean data", NOBODY_LIES] == {"fltrust"}


def test_where_nobody_lies_there_is_no_attack_to_rank_by(found):
    assert [[one.metric for one in board.rankings] for board in found if board.knowledge == NOBODY_LIES] == [
        [ACCURACY]
    ] * 3


def test_the_figure_names_every_rule_in_the_page_s_own_colours(found):
    ranking = found[0].rankings[0]
    figure = rank_figure(ranking)
    assert all(f"{one.rule}" in figure for one in ranking.standings)
    assert "var(--ink)" in figure
    assert "#010101" not in figure
    assert figure == rank_figure(ranking)


def test_one_rule_alone_has_no_figure(found):
    alone = next(board for board in found if board.needs == "clean data")
    assert rank_figure(alone.rankings[0]) == ""
