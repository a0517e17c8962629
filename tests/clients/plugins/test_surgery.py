import pytest
import torch

from hauberk.clients import Training, train
from hauberk.clients.optimizers import SGD, AdamW
from hauberk.clients.plugins import ChildTuningF, FedProx, Sam, Surgery
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of
from hauberk.tasks.text.consistency import n_changed


def trained(job, *plugins, **settings):
    torch.manual_seed(0)
    settings = {"batch_size": 8, "epochs": 3, "optimizer": AdamW(lr=0.01, weight_decay=0.5), **settings}
    session = job.session(Training(plugins=plugins, **settings))
    return session, train(session)


def changed(session):
    return n_changed(session.reference, state_of(session.model))


@pytest.mark.parametrize("method", ["dynamic", "gradient", "random"])
@pytest.mark.parametrize("budget", [100, 0.001])
def test_no_more_than_the_budget_changes(job, method, budget):
    session, report = trained(job, Surgery(method=method, budget=budget))
    n = len(flatten(session.reference))
    most = budget if budget >= 1 else round(budget * n)
    assert 0 < changed(session) <= most
    assert report["surgery/changed"] == changed(session)


def test_beside_other_plugins_too(job):
    session, _ = trained(job, Surgery(method="gradient", budget=50), FedProx(mu=1.0), Sam())
    assert 0 < changed(session) <= 50


@pytest.mark.parametrize("plugins", [(Surgery(), ChildTuningF()), (ChildTuningF(), Surgery())])
def test_beside_a_plugin_that_may_write_after_it(job, plugins):
    session, report = trained(job, *plugins, epochs=2)
    assert 0 < changed(session) <= round(0.01 * len(flatten(session.reference)))
    assert report["surgery/changed"] == changed(session)


def test_a_round_that_ends_early_still_keeps_to_the_budget(job):
    session, _ = trained(job, Surgery(budget=7, every=1000))
    assert changed(session) == 7


def test_dynamic_narrows_stage_by_stage(job):
    session = job.session(Training(batch_size=8, plugins=(Surgery(budget=5, keep=0.1, every=1),)))
    plain, sizes = session.batches, []

    def watched(epoch):
        for batch in plain(epoch):
            sizes.append(changed(session))
            yield batch

    session.batches = watched
    train(session)
    n = len(flatten(session.reference))
    assert [size <= max(5, n * 0.1**stage) for stage, size in enumerate(sizes)] == [True] * 5
    assert changed(session) == 5


def test_gradient_chooses_the_largest(job):
    session, _ = trained(job, Surgery(method="gradient", budget=2), optimizer=SGD(lr=0.1), batch_size=40)
    bias = session.model.classifier.bias - session.reference["classifier.bias"]
    weight = session.model.classifier.weight - session.reference["classifier.weight"]
    assert bias.count_nonzero() + weight.count_nonzero() == changed(session) > 0


def test_a_budget_for_all_is_plain_training(job):
    whole = [trained(job, *plugins)[0] for plugins in ((Surgery(budget=10**9, method="dynamic"),), ())]
    assert torch.equal(*(flatten(state_of(session.model)) for session in whole))


def test_it_lets_go_of_the_optimiser(job):
    session, _ = trained(job, Surgery())
    assert not session.optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("method", "delta", "must be one of dynamic, gradient, random, got 'delta'"),
        ("budget", 0.0, "must be a share below 1 or a whole count, got 0.0"),
        ("budget", 1.5, "must be a share below 1 or a whole count, got 1.5"),
        ("keep", 1.0, "must lie between 0 and 1, got 1.0"),
        ("every", 0, "must be at least 1, got 0"),
    ],
)
def test_a_mistake_is_named(key, value, rule):
    with pytest.raises(UserError, match=f"^{key}: {rule}"):
        Surgery(**{key: value})
