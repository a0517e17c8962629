import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hauberk.tasks.masks import largest, learned, mask_gradients, restore_outside


@given(values=st.lists(st.floats(-10, 10), min_size=1, max_size=30), k=st.integers(0, 40))
def test_exactly_the_k_largest_are_marked_also_where_values_tie(values, k):
    mask = largest(torch.tensor(values), k)
    assert int(mask.sum()) == min(k, len(values))
    sizes = torch.tensor(values).abs()
    if 0 < k < len(values):
        assert sizes[mask].min() >= sizes[~mask].max()


def test_the_absolute_value_counts():
    assert largest(torch.tensor([1.0, -3.0, 2.0]), 1).tolist() == [False, True, False]


def test_frozen_parameters_are_not_learned_and_tied_ones_come_once():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    second.bias.requires_grad_(False)
    assert list(learned(nn.Sequential(first, second))) == ["0.weight", "0.bias"]


@pytest.fixture
def model():
    layer = nn.Linear(2, 1)
    layer.weight.grad = torch.ones(1, 2)
    return layer


MASKS = {"weight": torch.tensor([[True, False]]), "bias": torch.tensor([False])}


def test_gradients_outside_the_mask_are_cleared(model):
    mask_gradients(learned(model), MASKS)
    assert model.weight.grad.tolist() == [[1.0, 0.0]]
    assert model.bias.grad is None


def test_what_is_outside_the_mask_comes_back_bit_by_bit(model):
    before = {name: value.detach() + 0.1 for name, value in learned(model).items()}
    inside = model.weight[0, 0].item()
    restore_outside(learned(model), MASKS, before)
    assert model.weight[0, 0].item() == inside
    assert model.weight[0, 1] == before["weight"][0, 1]
    assert torch.equal(model.bias, before["bias"])
