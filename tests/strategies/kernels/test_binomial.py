import pytest
import torch

from hauberk.strategies.kernels.binomial import tail_probability


def test_where_nothing_is_known_every_count_is_as_likely():
    # 0 to 4 of 4 have a fifth each.
    found = tail_probability(torch.tensor([0, 1, 4]), 4, torch.tensor([0, 0, 0]), 0)
    assert found.tolist() == pytest.approx([1.0, 0.8, 0.2])


def test_one_trial_has_laplaces_rate():
    found = tail_probability(torch.tensor([1, 1]), 1, torch.tensor([3, 0]), 8)
    assert found.tolist() == pytest.approx([4 / 10, 1 / 10])


def test_a_count_far_above_a_known_rate_is_unlikely():
    few, many = tail_probability(torch.tensor([10, 100]), 1000, torch.tensor([2, 2]), 200).tolist()
    assert few > 0.5
    assert many < 1e-6
