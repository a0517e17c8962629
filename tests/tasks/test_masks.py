import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import (
    allowed,
    check_budget,
    kth_largest,
    largest,
    learned,
    mask_gradients,
    restore_outside,
)


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


@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
    cut=st.integers(0, 40),
    k=st.integers(1, 40),
)
def test_the_kth_largest_is_what_a_sort_finds(values, cut, k):
    tensor, k = torch.tensor(values), min(k, len(values))
    expected = tensor.abs().sort(descending=True).values[k - 1].item()
    assert kth_largest([tensor[:cut], tensor[cut:]], k) == expected


def test_the_kth_largest_of_many_is_found_and_they_stay_as_they_are():
    values = torch.randn(12_345, generator=torch.Generator().manual_seed(0))
    before = values.clone()
    for k in (1, 77, 6000, 12_345):
        expected = values.abs().sort(descending=True).values[k - 1].item()
        assert kth_largest([values.view(5, -1)], k) == expected
    assert torch.equal(values, before)


@pytest.mark.parametrize("k", [0, 3])
def test_a_place_that_does_not_exist_is_refused(k):
    with pytest.raises(ValueError, match=f"between 1 and the 2 numbers there are, got {k}"):
        kth_largest([torch.ones(2)], k)


def test_a_budget_is_a_share_or_a_count():
    assert [allowed(budget, 1000) for budget in (1e-9, 0.5, 1, 7.0, 5000)] == [1, 500, 1, 7, 1000]
    with pytest.raises(UserError, match=r"^budget: must be a share below 1 or a whole count, got 2.5"):
        check_budget(2.5)
