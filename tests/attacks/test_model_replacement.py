from types import SimpleNamespace

import pytest
import torch

from hauberk.attacks import ModelReplacement
from hauberk.tasks.errors import UserError

UPDATE = torch.tensor([1.0, -2.0])


def session(n_clients, n_attackers):
    return SimpleNamespace(n_clients=n_clients, n_attackers=n_attackers)


def test_the_mean_of_the_round_becomes_the_attackers_model():
    sent = ModelReplacement().send(UPDATE, session(10, 1))
    mean = torch.cat([sent[None], torch.zeros(9, 2)]).mean(dim=0)
    torch.testing.assert_close(mean, UPDATE)


def test_attackers_of_one_round_share_the_work():
    assert ModelReplacement().factor(10, 4) == 2.5


def test_a_given_scale_is_used_as_it_is():
    assert ModelReplacement(scale=100.0).send(UPDATE, session(10, 1)).tolist() == [100.0, -200.0]


@pytest.mark.parametrize("scale", [0.0, -3.0])
def test_a_scale_that_hides_the_update_is_refused(scale):
    with pytest.raises(UserError, match="scale: must be above 0, got"):
        ModelReplacement(scale=scale)
