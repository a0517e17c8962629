import pytest
import torch

from hauberk.clients import Training, train
from hauberk.clients.plugins import GradientClip
from hauberk.tasks.errors import UserError


def gradient(session):
    return torch.cat([p.grad.flatten() for p in session.model.parameters() if p.grad is not None])


def test_a_long_gradient_is_cut_and_a_short_one_kept(job):
    session = job.session()
    for length, expected in ((10.0, 2.0), (1.0, 1.0)):
        for parameter in session.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        session.model.classifier.bias.grad = torch.tensor([0.6, 0.8]) * length
        GradientClip(max_norm=2.0).gradients(session)
        assert gradient(session).norm().item() == pytest.approx(expected, rel=1e-5)
    assert GradientClip(max_norm=2.0).finish(session) == {
        "gradient_clip/share": 0.5,
        "gradient_clip/norm": pytest.approx(5.5),
    }


def test_the_report_counts_every_step(job):
    reports = [train(job.session(Training(plugins=(GradientClip(max_norm=n),)))) for n in (1e-9, 1e9)]
    assert [report["gradient_clip/share"] for report in reports] == [1.0, 0.0]


@pytest.mark.parametrize("max_norm", [0.0, float("nan")])
def test_a_norm_that_stops_all_learning_is_refused(max_norm):
    with pytest.raises(UserError, match="max_norm: must be above 0, got"):
        GradientClip(max_norm=max_norm)
