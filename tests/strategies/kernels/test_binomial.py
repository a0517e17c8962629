import math

import pytest
import torch

from hauberk.strategies.kernels.binomial import log_tail_probability


def test_where_nothing_is_known_every_count_is_as_likely():
    # 0 to 4 of 4 have a fifth each.
    found = log_tail_probability(torch.tensor([0, 1, 4]), 4, torch.tensor([0, 0, 0]), 0)
    assert found.exp().tolist() == pytest.approx([1.0, 0.8, 0.2])


def test_one_trial_has_laplaces_rate():
    found = log_tail_probability(torch.tensor([1, 1]), 1, torch.tensor([3, 0]), 8)
    assert found.exp().tolist() == pytest.approx([4 / 10, 1 / 10])


def test_a_count_far_above_a_known_rate_is_unlikely():
    few, many = log_tail_probability(torch.tensor([10, 100]), 1000, torch.tensor([2, 2]), 200).tolist()
    assert few > math.log(0.5)
    assert many < math.log(1e-6)


def test_probabilities_far_below_rounding_are_told_apart():
    some, most = log_tail_probability(torch.tensor([300, 1000]), 1000, torch.tensor([0, 2]), 200).tolist()
    assert most < some - 100
