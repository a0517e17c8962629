import pytest
import torch

from hauberk.clients import Training, train
from hauberk.clients.plugins import FedProx
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of


def distance(job, plugins):
    session = job.session(Training(batch_size=4, epochs=5, plugins=plugins))
    train(session)
    return (flatten(state_of(session.model)) - flatten(session.reference)).norm()


def test_the_gradient_gains_mu_times_the_way_gone(job):
    session = job.session()
    bias = session.model.classifier.bias
    bias.data.add_(torch.tensor([2.0, -4.0]))
    bias.grad = torch.ones(2)
    FedProx(mu=0.5).gradients(session)
    assert bias.grad.tolist() == [2.0, -1.0]
    assert session.model.classifier.weight.grad is None


def test_a_strong_pull_keeps_a_client_near(job):
    torch.manual_seed(0)
    assert distance(job, (FedProx(mu=10.0),)) < 0.5 * distance(job, ())


def test_no_pull_is_plain_training(job):
    def weights(plugins):
        torch.manual_seed(0)
        session = job.session(Training(batch_size=4, plugins=plugins))
        train(session)
        return flatten(state_of(session.model))

    assert torch.equal(weights((FedProx(mu=0.0),)), weights(()))


def test_a_push_is_refused():
    with pytest.raises(UserError, match=r"^mu: must be at least 0, got -1"):
        FedProx(mu=-1.0)
