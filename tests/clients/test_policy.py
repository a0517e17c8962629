"""A client's own rules: what the server asks for is done only where its owner allows it."""

from __future__ import annotations

import pytest

from hauberk.clients.optimizers import Adam
from hauberk.clients.plugins import PLUGINS
from hauberk.clients.policy import Forbidden, Policy
from hauberk.clients.settings import Training
from hauberk.tasks.errors import UserError

CLIP = {"name": "gradient_clip", "max_norm": 1.0}


def training(**changes) -> Training:
    return Training(**{"epochs": 2, "batch_size": 32, "optimizer": Adam(lr=1e-3), **changes})


def test_without_rules_everything_is_allowed():
    Policy().check(training(epochs=1000, plugins=[PLUGINS["sam"]()]))


@pytest.mark.parametrize(
    ("policy", "asked", "reason"),
    [
        ({"max_epochs": 1}, {}, "policy.max_epochs: at most 1 here, the server asks for 2"),
        ({"max_batch_size": 16}, {}, "policy.max_batch_size: at most 16 here, the server asks for 32"),
        ({"optimizers": ("sgd",)}, {}, "policy.optimizers: allowed here are sgd, the server asks for adam"),
        (
            {"plugins": ()},
            {"plugins": [PLUGINS["sam"]()]},
            "policy.plugins: allowed here are none, the server asks for sam",
        ),
        ({"required": (CLIP,)}, {}, "policy.required: gradient_clip must run here, the server asks for none"),
        (
            {"required": (CLIP,)},
            {"plugins": [PLUGINS["gradient_clip"](max_norm=9.0)]},
            "policy.required: gradient_clip.max_norm must be 1.0 here, the server asks for 9.0",
        ),
    ],
)
def test_what_the_owner_does_not_allow_is_refused_with_the_rule_and_both_sides(policy, asked, reason):
    with pytest.raises(Forbidden) as caught:
        Policy(**policy).check(training(**asked))
    assert str(caught.value) == reason


def test_what_is_required_and_runs_is_allowed():
    Policy(required=(CLIP,)).check(training(plugins=[PLUGINS["gradient_clip"](max_norm=1.0)]))


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"max_epochs": 0}, "max_epochs: must be above 0, got 0"),
        ({"plugins": ("nosuch",)}, "plugins: unknown name 'nosuch'"),
        ({"required": ({"name": "nosuch"},)}, "required: unknown name 'nosuch'"),
    ],
)
def test_rules_that_nobody_can_keep_are_a_users_mistake(policy, reason):
    with pytest.raises(UserError, match=reason):
        Policy(**policy)
