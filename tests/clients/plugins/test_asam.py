import math

import pytest

from hauberk.clients.plugins import Asam
from hauberk.tasks.errors import UserError
from tests.helpers.bowl import one_step


def test_a_step_by_hand():
    # g = (3, -8, 2), T = (3.5, 4.5, 1) as the last is a bias, T g = (10.5, -36, 2), T^2 g = (36.75, -162, 2).
    model, loss, points = one_step(Asam(rho=0.5, eta=0.5), weight=(3.0, -4.0))
    length = math.sqrt(10.5**2 + 36**2 + 2**2)
    up = [3 + 0.5 * 36.75 / length, -4 - 0.5 * 162 / length, 2 + 0.5 * 2 / length]
    assert points[1] == pytest.approx(up)
    expected = [3 - 0.1 * up[0], -4 - 0.1 * 2 * up[1], 2 - 0.1 * up[2]]
    assert [*model.weight.tolist(), *model.bias.tolist()] == pytest.approx(expected)
    assert loss == pytest.approx(4.5 + 16 + 2)


def test_rescaled_weights_go_uphill_in_proportion():
    # The same function of weight / 10 has a tenth of the gradient; with eta = 0 it is exactly as sharp.
    _, _, points = one_step(Asam(eta=0.0), weight=(3.0, 4.0), bias=(0.0,), curvature=(1.0, 2.0))
    _, _, scaled = one_step(Asam(eta=0.0), weight=(30.0, 40.0), bias=(0.0,), curvature=(0.01, 0.02))
    assert [10 * value for value in points[1]] == pytest.approx(scaled[1])


def test_a_negative_scale_is_refused():
    with pytest.raises(UserError, match=r"^eta: must be at least 0, got -0.1"):
        Asam(eta=-0.1)
    with pytest.raises(UserError, match=r"^rho: must be above 0, got 0"):
        Asam(rho=0)
