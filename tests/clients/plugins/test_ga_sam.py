import math

import pytest
import torch

from hauberk.clients import Training, train
from hauberk.clients.plugins import GaSam, Sam
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of
from tests.helpers.bowl import one_step


def weights(job, plugin):
    torch.manual_seed(0)
    session = job.session(Training(batch_size=4, epochs=2, plugins=(plugin,)))
    train(session)
    return flatten(state_of(session.model))


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_an_exponent_of_0_is_sam_to_the_last_bit(job, smoothing):
    assert torch.equal(
        weights(job, GaSam(exponent=0.0, smoothing=smoothing, rho=0.1)), weights(job, Sam(rho=0.1))
    )


def test_any_other_exponent_is_not(job):
    assert not torch.equal(weights(job, GaSam(exponent=0.5)), weights(job, Sam()))


@pytest.mark.parametrize("exponent", [-1.0, 0.5, 1.0])
def test_a_step_by_hand(exponent):
    # g = (3, 8) and 2, so that s = sqrt(73 / 2) and 2, and T is that by their mean.
    _, _, points = one_step(GaSam(rho=0.5, exponent=exponent))
    strengths = [math.sqrt(73 / 2), 2.0]
    a, b = ((s / (sum(strengths) / 2)) ** exponent for s in strengths)
    length = math.sqrt(a**4 * 73 + b**4 * 4)
    way = [0.5 * a**2 * 3 / length, 0.5 * a**2 * 8 / length, 0.5 * b**2 * 2 / length]
    assert points[1] == pytest.approx([3 + way[0], 4 + way[1], 2 + way[2]])
    assert math.hypot(*way) == pytest.approx(0.5)  # as long as SAM's


def test_several_steps_go_along_the_gradient_where_they_stand():
    _, loss, points = one_step(GaSam(rho=0.5, exponent=0.0, n_steps=2), bias=(0.0,))
    first = [3 + 0.25 * 3 / math.sqrt(73), 4 + 0.25 * 8 / math.sqrt(73)]
    gradient = [first[0], 2 * first[1]]
    second = [w + 0.25 * g / math.hypot(*gradient) for w, g in zip(first, gradient, strict=True)]
    assert points[1][:2] == pytest.approx(first)
    assert points[2][:2] == pytest.approx(second)
    assert (len(points), loss) == (3, 20.5)


@pytest.mark.parametrize("exponent", [-2.0, 1.0])
def test_a_tensor_without_gradient_stands_still_and_harms_none(exponent):
    model, _, points = one_step(GaSam(exponent=exponent), bias=(0.0,))
    assert model.bias.tolist() == [0.0]
    assert all(math.isfinite(value) for point in points for value in point)


def test_the_strength_is_smoothed_over_the_steps():
    plugin, strengths = GaSam(smoothing=0.75), {}
    weight = torch.nn.Parameter(torch.zeros(4))
    for gradient, expected in ((1.0, 1.0), (5.0, 2.0), (2.0, 2.0)):
        weight.grad = torch.full((4,), gradient)
        assert plugin._smoothed(strengths, {"weight": weight})["weight"].item() == expected


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("rho", 0.0, "must be above 0, got 0.0"),
        ("exponent", math.inf, "must be a finite number, got inf"),
        ("n_steps", 0, "must be at least 1, got 0"),
        ("smoothing", 1.0, r"must lie in \[0, 1\), got 1.0"),
    ],
)
def test_a_mistake_is_named(key, value, rule):
    with pytest.raises(UserError, match=f"^{key}: {rule}"):
        GaSam(**{key: value})
