import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from hauberk.clients import Training, train
from hauberk.clients.optimizers import SGD
from hauberk.clients.plugins import Plugin
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import state_of


@dataclass(frozen=True, kw_only=True)
class Diary(Plugin):
    """Writes down which hooks ran."""

    name: str = "diary"

    def setup(self, session):
        session.scratch.setdefault("diary", []).append(f"{self.name}: setup")

    def gradients(self, session):
        assert all(p.grad is not None for p in session.model.parameters())
        session.scratch["diary"].append(f"{self.name}: gradients")

    def finish(self, session):
        session.scratch["diary"].append(f"{self.name}: finish")
        return {f"{self.name}/seen": float(len(session.scratch["diary"]))}


@dataclass(frozen=True, kw_only=True)
class Owner(Plugin):
    """Reads the loss twice and steps once."""

    owns_step: ClassVar[bool] = True

    def step(self, session, closure):
        closure()
        loss = closure()
        session.optimizer.step()
        session.scratch.setdefault("diary", []).append("owner: step")
        return loss


@dataclass(frozen=True, kw_only=True)
class Doubled(Plugin):
    """Replaces the loss."""

    def setup(self, session):
        plain = session.loss
        session.loss = lambda model, batch: 2 * plain(model, batch)


def test_training_lowers_the_loss(job):
    losses = [train(job.session(Training(batch_size=4, epochs=n)))["loss"] for n in (1, 20)]
    assert losses[1] < losses[0] / 2


def test_a_step_is_the_gradient_of_the_batch(job):
    session = job.session(Training(batch_size=100, optimizer=SGD(lr=0.5)))
    session.model.dropout.p = 0.0
    twin = job.task.build(job.seed)
    twin.dropout.p = 0.0
    (batch,) = job.session(Training(batch_size=100)).batches(0)
    loss = nn.functional.cross_entropy(twin(batch), batch.labels)
    loss.backward()
    report = train(session)
    assert report["loss"] == pytest.approx(loss.item())
    after = dict(session.model.named_parameters())
    for name, before in twin.named_parameters():
        torch.testing.assert_close(after[name], before - 0.5 * before.grad)


def test_every_text_is_seen_once_an_epoch_in_another_order(job):
    session = job.session(Training(batch_size=7))
    orders = [np.concatenate([batch.rows.numpy() for batch in session.batches(epoch)]) for epoch in (0, 1)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(40))
    assert orders[0].tolist() != orders[1].tolist()


def test_hooks_run_in_their_order(job):
    plugins = (Diary(name="a"), Diary(name="b"))
    session = job.session(Training(batch_size=20, plugins=plugins))
    report = train(session)
    step = ["a: gradients", "b: gradients"]
    ends = ["a: finish", "b: finish"]
    assert session.scratch["diary"] == ["a: setup", "b: setup", *step, *step, *ends]
    assert report.keys() == {"loss", "a/seen", "b/seen"}


def test_the_owner_takes_the_steps_and_others_still_see_each_gradient(job):
    session = job.session(Training(batch_size=20, plugins=(Diary(name="a"), Owner())))
    train(session)
    step = ["a: gradients", "a: gradients", "owner: step"]
    assert session.scratch["diary"] == ["a: setup", *step, *step, "a: finish"]


def test_two_owners_of_the_step_are_refused_by_name():
    with pytest.raises(UserError, match="at most 1 plugin may own the step, got 2: Owner, Owner"):
        Training(plugins=(Owner(), Owner()))


def test_setup_may_replace_the_loss(job):
    def loss(plugins):
        session = job.session(Training(batch_size=100, optimizer=SGD(lr=1e-9), plugins=plugins))
        session.model.dropout.p = 0.0
        return train(session)["loss"]

    assert loss((Doubled(),)) == pytest.approx(2 * loss(()))


def test_a_loss_that_is_not_finite_is_reported_as_it_is(job):
    session = job.session()
    session.model.classifier.bias.data.fill_(math.inf)
    assert math.isnan(train(session)["loss"])


def test_bfloat16_trains_almost_alike_and_keeps_float32_weights(job):
    reports = {}
    for precision in ("float32", "bfloat16"):
        session = job.session(Training(batch_size=100, precision=precision))
        session.model.dropout.p = 0.0
        reports[precision] = train(session)["loss"]
        assert {value.dtype for value in state_of(session.model).values()} == {torch.float32}
    assert reports["bfloat16"] == pytest.approx(reports["float32"], rel=0.02)
    assert reports["bfloat16"] != reports["float32"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, r"training\.epochs: must be at least 1, got 0"),
        ({"batch_size": 0}, r"training\.batch_size: must be at least 1, got 0"),
        ({"precision": "float16"}, r"training\.precision: must be one of float32, bfloat16, got 'float16'"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=f"^{message}"):
        Training(**settings)
