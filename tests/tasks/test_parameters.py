import numpy as np
import pytest
import torch
from torch import nn

from hauberk.tasks.parameters import flatten, load_state, shift_answers, state_of, unflatten


class Odd(nn.Module):
    """Tied, frozen and integer tensors, and buffers of both kinds."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(2, 3)
        self.tied = nn.Linear(2, 3, bias=False)
        self.tied.weight = self.a.weight
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("passing", torch.ones(2), persistent=False)


def test_only_what_is_learned_is_exchanged_and_tied_tensors_once():
    assert list(state_of(Odd())) == [
        "a.weight",
        "a.bias",
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
    ]


def test_a_state_is_a_copy_unless_asked_otherwise():
    model = nn.Linear(2, 1)
    copied, living = state_of(model), state_of(model, copy=False)
    with torch.no_grad():
        model.weight.zero_()
    assert copied["weight"].abs().sum() > 0
    assert living["weight"].abs().sum() == 0
    assert not living["weight"].requires_grad


@pytest.mark.parametrize("form", ["vector", "tensors", "arrays"])
def test_a_state_comes_back_bit_for_bit_in_every_form(form):
    source, target = Odd(), Odd()
    state = state_of(source)
    arrays = {name: value.numpy() for name, value in state.items()}
    load_state(target, {"vector": flatten(state), "tensors": state, "arrays": arrays}[form])
    assert torch.equal(flatten(state_of(target)), flatten(state))
    assert target.tied.weight is target.a.weight


def test_unflatten_gives_views_of_the_vector():
    like = {"a": torch.zeros(2, 2), "b": np.zeros(3), "c": torch.tensor(0.0)}
    vector = torch.arange(8.0)
    parts = unflatten(vector, like)
    parts["b"][0] = -1
    assert vector.tolist() == [0, 1, 2, 3, -1, 5, 6, 7]
    assert parts["c"].shape == ()


def test_what_does_not_fit_is_refused_with_names_and_numbers():
    model = nn.Linear(2, 3)
    state = state_of(model)
    with pytest.raises(ValueError, match="hold 9 numbers, the vector has shape \\(8,\\)"):
        load_state(model, torch.zeros(8))
    with pytest.raises(ValueError, match="differ in 1 tensors, the first is 'bias'"):
        load_state(model, {"weight": state["weight"]})
    with pytest.raises(ValueError, match="'weight' needs shape \\(3, 2\\), got \\(2, 3\\)"):
        load_state(model, state | {"weight": torch.zeros(2, 3)})


def test_half_precision_travels_as_float32():
    model = nn.Linear(2, 1).bfloat16()
    vector = flatten(state_of(model))
    assert vector.dtype == torch.float32
    load_state(model, vector * 2)
    assert torch.equal(flatten(state_of(model)), vector * 2)


def test_answers_are_shifted_where_the_last_tensor_is_their_bias():
    by, inputs = torch.tensor([1.0, -2.0, 0.5]), torch.randn(4, 5)
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Linear(8, 3))
    before = model(inputs)
    assert shift_answers(model, by)
    torch.testing.assert_close(model(inputs), before + by)
    without = torch.nn.Linear(5, 3, bias=False)
    kept = without.weight.clone()
    assert not shift_answers(without, by)
    assert torch.equal(without.weight, kept)
