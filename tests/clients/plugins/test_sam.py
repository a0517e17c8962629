import pytest
import torch

from hauberk.clients import Training, train
from hauberk.clients.plugins import GradientClip, Sam
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of
from tests.helpers.bowl import one_step


def test_a_step_by_hand():
    # g = (3, 0, 4), ||g|| = 5, so eps = (0.3, 0, 0.4); the gradient there is (3.3, 0, 4.4), and lr = 0.1.
    model, loss, points = one_step(Sam(rho=0.5), weight=(3.0, 0.0), bias=(4.0,), curvature=(1.0, 7.0))
    assert points[1] == pytest.approx([3.3, 0.0, 4.4])
    assert [*model.weight.tolist(), *model.bias.tolist()] == pytest.approx([2.67, 0.0, 3.56])
    assert loss == 12.5


def test_the_weights_are_back_to_the_last_bit_before_the_step(job):
    session = job.session(Training(batch_size=4, plugins=(Sam(rho=0.3),)))
    seen = []
    session.optimizer.register_step_pre_hook(lambda *_: seen.append(flatten(state_of(session.model))))
    session.optimizer.register_step_post_hook(lambda *_: seen.append(flatten(state_of(session.model))))
    train(session)
    assert torch.equal(seen[0], flatten(session.reference))
    assert all(torch.equal(after, before) for after, before in zip(seen[1::2], seen[2::2], strict=False))


def test_the_weights_are_back_although_the_second_pass_fails(job):
    session, passes = job.session(), []

    def closure():
        passes.append(0)
        if len(passes) == 2:
            raise FloatingPointError
        loss = session.loss(session.model, next(iter(session.batches(0))))
        loss.backward()
        return loss.detach()

    with pytest.raises(FloatingPointError):
        Sam().step(session, closure)
    assert torch.equal(flatten(state_of(session.model)), flatten(session.reference))


def test_without_a_gradient_nothing_moves():
    model, *_ = one_step(Sam(), weight=(0.0, 0.0), bias=(0.0,))
    assert model.weight.tolist() == [0.0, 0.0]


def test_other_plugins_see_both_passes(job):
    session = job.session(Training(batch_size=10, plugins=(GradientClip(), Sam())))
    train(session)
    assert len(session.scratch["gradient_clip/norms"]) == 2 * 4


@pytest.mark.parametrize("rho", [0.0, -1.0, float("nan")])
def test_a_way_that_does_not_lead_uphill_is_refused(rho):
    with pytest.raises(UserError, match=r"^rho: must be above 0, got "):
        Sam(rho=rho)
