"""Every optimiser passes these; a new one is one line in OPTIMIZERS."""

import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn

from hauberk.clients.optimizers import OPTIMIZERS, SGD, Adam, AdamW
from hauberk.tasks.errors import UserError

EACH = pytest.mark.parametrize("settings", [cls() for cls in OPTIMIZERS.values()], ids=repr)


def parameter(values):
    made = nn.Parameter(torch.tensor(values))
    made.grad = torch.ones_like(made)
    return made


@EACH
def test_a_step_goes_against_the_gradient(settings):
    weight = parameter([1.0, -2.0])
    settings.build([weight]).step()
    assert (weight < torch.tensor([1.0, -2.0])).all()


@EACH
def test_it_is_fused_and_leaves_frozen_parameters_out(settings):
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    built = settings.build(iter([frozen, parameter([1.0])]))
    assert [len(group["params"]) for group in built.param_groups] == [1]
    assert built.defaults["fused"] is True


@EACH
def test_leaves_still_says_whether_a_weight_without_gradient_moves(settings):
    for decay in (0.0, 0.1):
        weight = parameter([1.0, -2.0])
        weight.grad.zero_()
        changed = replace(settings, weight_decay=decay)
        changed.build([weight]).step()
        assert torch.equal(weight.detach(), torch.tensor([1.0, -2.0])) == changed.leaves_still == (decay == 0)


@EACH
@pytest.mark.parametrize(("key", "value"), [("lr", 0.0), ("lr", float("nan")), ("weight_decay", -0.1)])
def test_impossible_rates_are_refused_by_name(settings, key, value):
    with pytest.raises(UserError, match=f"^{key}: must be .*, got"):
        replace(settings, **{key: value})


@EACH
def test_it_is_a_value(settings):
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert hash(settings) == hash(replace(settings))


def test_one_step_of_each_by_hand():
    weight = parameter([1.0])
    SGD(lr=0.5).build([weight]).step()
    assert weight.item() == 0.5
    weight = parameter([1.0])
    Adam(lr=0.25).build([weight]).step()  # the first step of Adam is lr * sign(gradient)
    assert weight.item() == pytest.approx(0.75, abs=1e-6)
    weight = parameter([1.0])
    AdamW(lr=0.25, weight_decay=0.1).build([weight]).step()  # and the weight shrinks by lr * decay
    assert weight.item() == pytest.approx(1 - 0.025 - 0.25, abs=1e-6)


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (Adam, {"betas": (0.9, 1.0)}, "betas: must be two numbers"),
        (Adam, {"betas": (0.9,)}, "betas: must be two numbers"),
        (Adam, {"eps": 0.0}, "eps: must be at least 1e-12, got 0.0"),
        (SGD, {"momentum": 1.0}, "momentum: must lie in"),
        (SGD, {"nesterov": True}, "nesterov: needs a momentum"),
    ],
)
def test_its_own_settings_are_checked(cls, settings, message):
    with pytest.raises(UserError, match=f"^{message}"):
        cls(**settings)


@EACH
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_steps_as_torchs_own(settings, momentum):
    settings = replace(settings, momentum=momentum) if isinstance(settings, SGD) else settings
    own, torchs = (torch.nn.Linear(4, 3), torch.nn.Linear(4, 3))
    torchs.load_state_dict(own.state_dict())
    built = settings.build(own.parameters())
    named = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    kind = named[type(settings).__name__.lower()]
    given = {key: built.defaults[key] for key in ("lr", "weight_decay", "fused", "momentum", "betas", "eps")
             if key in built.defaults}  # fmt: skip
    for model, optimizer in ((own, built), (torchs, kind(torchs.parameters(), **given))):
        assert isinstance(optimizer, kind)
        for step in range(3):
            optimizer.zero_grad()
            model(torch.full((2, 4), float(step))).square().sum().backward()
            optimizer.step()
        assert torch.is_grad_enabled()
    assert torch.equal(own.weight, torchs.weight)
    assert torch.equal(own.bias, torchs.bias)
    built.load_state_dict(built.state_dict())
