import pytest
import torch

from hauberk.clients import Training, train
from hauberk.clients.optimizers import SGD, AdamW
from hauberk.clients.plugins import ChildTuningF, Sam
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of


def trained(job, *plugins, optimizer=None, epochs=2):
    torch.manual_seed(0)
    settings = Training(batch_size=8, epochs=epochs, optimizer=optimizer or AdamW(), plugins=plugins)
    session = job.session(settings)
    train(session)
    return session


def weights(session):
    return flatten(state_of(session.model))


def test_the_masked_gradient_is_unbiased(job):
    session, plugin, n = job.session(), ChildTuningF(p=0.3), 2000
    plugin.setup(session)
    bias, total, share = session.model.classifier.bias, torch.zeros(2), 0.0
    for _ in range(n):
        bias.grad = torch.tensor([1.0, -5.0])
        plugin.gradients(session)
        total += bias.grad
        share += (bias.grad != 0).float().mean().item() / n
    # The mean of n draws of Bernoulli(p) / p has the standard error sqrt((1 - p) / (p n)), here .034.
    assert (total / n).tolist() == pytest.approx([1.0, -5.0], rel=0.1)
    assert share == pytest.approx(0.3, abs=0.03)


def test_what_is_kept_is_divided_by_p(job):
    session, plugin = job.session(), ChildTuningF(p=0.25)
    plugin.setup(session)
    weight = session.model.classifier.weight
    weight.grad = torch.ones_like(weight)
    plugin.gradients(session)
    assert set(weight.grad.flatten().tolist()) == {0.0, 4.0}


def test_keeping_all_is_plain_training_to_the_last_bit(job):
    for masked_weights in ("unchanged", "stepped"):
        whole = trained(job, ChildTuningF(p=1.0, masked_weights=masked_weights))
        assert torch.equal(weights(whole), weights(trained(job)))


class _Watch:
    """Notes, step by step, which weights the mask left out and which moved."""

    def __init__(self, session):
        self.still, self.session = [], session
        session.optimizer.register_step_pre_hook(lambda *_: self.before())

    def before(self):
        self.weights = weights(self.session)
        self.outside = ~flatten(self.session.scratch["child_tuning_f"][1]).bool()

    def after(self):
        self.still.append(torch.equal(weights(self.session)[self.outside], self.weights[self.outside]))


@pytest.mark.parametrize(("masked_weights", "still"), [("unchanged", True), ("stepped", False)])
def test_masked_weights_stand_still_by_default_and_decay_as_in_the_official_code(job, masked_weights, still):
    plugin = ChildTuningF(p=0.5, masked_weights=masked_weights)
    session = job.session(Training(batch_size=8, optimizer=AdamW(weight_decay=0.5), plugins=(plugin,)))
    watch = _Watch(session)
    step = session.optimizer.step

    def watched():
        step()
        watch.after()

    session.optimizer.step = watched
    train(session)
    assert len(watch.still) == 5
    assert all(one is still for one in watch.still)


def test_sgd_moves_only_what_the_mask_holds(job):
    session = trained(job, ChildTuningF(p=0.1), optimizer=SGD(lr=0.1), epochs=1)
    moved = (weights(session) != flatten(session.reference)).float()
    assert 0 < moved.mean() < 0.5


def test_it_lets_go_of_the_optimiser(job):
    session = trained(job, ChildTuningF())
    assert not session.optimizer._optimizer_step_pre_hooks
    assert not session.optimizer._optimizer_step_post_hooks


def test_it_works_under_sam(job):
    session = trained(job, ChildTuningF(), Sam())
    assert weights(session).isfinite().all()


@pytest.mark.parametrize("p", [0.0, 1.5, float("nan")])
def test_a_share_outside_its_range_is_refused(p):
    with pytest.raises(UserError, match=r"^p: must lie in \(0, 1\], got "):
        ChildTuningF(p=p)


def test_an_unknown_treatment_is_refused():
    with pytest.raises(UserError, match=r"^masked_weights: must be one of unchanged, stepped, got 'gone'"):
        ChildTuningF(masked_weights="gone")
