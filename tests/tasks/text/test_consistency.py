import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr

from hauberk.tasks.text.consistency import consistency, n_changed, pearson, true_class

FLOATS = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=3, max_size=20)


def logits(*probabilities):
    return torch.tensor([[1 - p, p] for p in probabilities]).log()


def test_hand_made_answers_are_counted_each_way():
    labels = np.array([1, 1, 0, 0, 1])
    before, after = logits(0.9, 0.8, 0.6, 0.1, 0.4), logits(0.9, 0.2, 0.3, 0.1, 0.4)
    found = consistency(before, after, labels)
    assert (found.spoilt, found.mended) == (0.2, 0.2)
    shares = [[0.9, 0.8, 0.4, 0.9, 0.4], [0.9, 0.2, 0.7, 0.9, 0.4]]
    assert found.correlation == pytest.approx(pearsonr(*shares).statistic)
    assert found.agreement == pytest.approx(pearsonr([1, 1, 0, 1, 0], [1, 0, 1, 1, 0]).statistic)


def test_the_same_model_is_consistent_with_itself():
    found = consistency(logits(0.9, 0.2), logits(0.9, 0.2), np.array([1, 0]))
    assert (found.correlation, found.agreement, found.spoilt, found.mended) == (pytest.approx(1), 1, 0, 0)


def test_the_score_is_the_probability_of_the_true_class():
    assert true_class(logits(0.9, 0.2), np.array([1, 0])).tolist() == pytest.approx([0.9, 0.8])


@given(FLOATS)
def test_the_correlation_is_scipys(pairs):
    a, b = (torch.tensor(side, dtype=torch.float64) for side in zip(*pairs, strict=True))
    if a.std() > 1e-3 and b.std() > 1e-3:
        assert pearson(a, b) == pytest.approx(pearsonr(a, b).statistic, abs=1e-9)


def test_constant_scores_agree_or_do_not():
    assert pearson(torch.ones(3), torch.ones(3)) == 1
    assert pearson(torch.ones(3), torch.arange(3.0)) == 0


@pytest.mark.parametrize("n", [0, 2])
def test_answers_to_other_texts_are_refused(n):
    with pytest.raises(ValueError, match=f"must be as many and not none, got {n}, {n} and"):
        consistency(torch.zeros(n, 2), torch.zeros(n, 2), np.zeros(3 if n else 0, int))


def test_every_number_that_differs_counts_once():
    before = {"a": torch.zeros(3), "b": torch.zeros(2, 2)}
    after = {"a": torch.tensor([0.0, 1e-30, 0.0]), "b": torch.eye(2)}
    assert n_changed(before, after) == 3
