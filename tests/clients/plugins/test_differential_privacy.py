import sys

import pytest
import torch
from torch import nn

pytest.importorskip("opacus", reason="opacus is not installed: pip install 'hauberk[privacy]'")

from hauberk.clients import Training, train
from hauberk.clients.optimizers import SGD
from hauberk.clients.plugins import (
    ChildTuningD,
    ChildTuningF,
    DifferentialPrivacy,
    FedProx,
    Sam,
    Surgery,
    check_plugins,
)
from hauberk.clients.plugins._dp_sgd import Mechanism, epsilon, poisson_batches, texts_of
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of


class Bag(nn.Module):
    """A model whose layers Opacus' own hooks understand."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.out = nn.Embedding(30522, 4), nn.Linear(4, 2)

    def forward(self, batch):
        """Returns the logits of the mean word."""
        real = batch.mask[:, :, None]
        return self.out((self.words(batch.tokens) * real).sum(dim=1) / real.sum(dim=1))


def on_a_bag(job, **settings):
    session = job.session(Training(batch_size=8))
    session.model = Bag()
    session.optimizer = SGD(lr=0.1).build(session.model.parameters())
    return session, Mechanism(
        session, rate=8 / 40, **{"noise_multiplier": 1.0, "max_grad_norm": 1.0, **settings}
    )


def gradient(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def released(session, mechanism, batch):
    session.model.zero_grad(set_to_none=True)
    loss = mechanism.loss(session.model, batch)
    loss.backward()
    mechanism.release()
    return gradient(session.model)


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_it_is_what_opacus_does_with_its_own_hooks(job):
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    session, mechanism = on_a_bag(job, noise_multiplier=0.5, max_grad_norm=0.1)
    batch = next(iter(session.batches(0)))
    ours = released(session, mechanism, batch)
    model = GradSampleModule(Bag())
    optimizer = DPOptimizer(
        SGD(lr=0.1).build(model.parameters()),
        noise_multiplier=0.5,
        max_grad_norm=0.1,
        expected_batch_size=8,
        generator=torch.Generator().manual_seed(mechanism.optimizer.generator.initial_seed()),
    )
    nn.functional.cross_entropy(model(batch), batch.labels).backward()
    optimizer.pre_step()
    torch.testing.assert_close(ours, gradient(model), rtol=1e-4, atol=1e-6)


def test_without_clipping_and_noise_it_is_the_plain_gradient(job):
    session, mechanism = on_a_bag(job, noise_multiplier=1e-12, max_grad_norm=1e6)
    batch = next(iter(session.batches(0)))
    ours = released(session, mechanism, batch)
    session.model.zero_grad()
    plain = session.loss(session.model, batch)
    plain.backward()
    torch.testing.assert_close(ours, gradient(session.model), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(mechanism.loss(session.model, batch).detach(), plain.detach())


def test_no_text_counts_more_than_the_norm(job):
    session, mechanism = on_a_bag(job, noise_multiplier=1e-9, max_grad_norm=0.01)
    for text in texts_of(next(iter(session.batches(0)))):
        assert released(session, mechanism, text).norm() * 8 <= 0.01 + 1e-6


def test_an_empty_batch_is_noise_of_the_right_width(job):
    session, mechanism = on_a_bag(job, noise_multiplier=2.0, max_grad_norm=3.0)
    empty = next(b for b in poisson_batches(session, 1e-9, session.rng) if not len(b))
    found = released(session, mechanism, empty)
    assert found.std().item() == pytest.approx(2.0 * 3.0 / 8, rel=0.02)
    assert mechanism.loss(session.model, empty) == 0


def test_every_text_comes_with_its_probability(job):
    session = job.session(Training(batch_size=10))
    drawn = [batch.rows for _ in range(100) for batch in poisson_batches(session, 0.25, session.rng)]
    assert len(drawn) == 100 * 4
    counts = torch.bincount(torch.cat(drawn), minlength=40)
    assert counts.float().mean().item() == pytest.approx(100, rel=0.05)
    assert len({len(rows) for rows in drawn}) > 5


def test_epsilon_is_opacus_own():
    from opacus.accountants import RDPAccountant

    account = RDPAccountant()
    for _ in range(50):
        account.step(noise_multiplier=1.1, sample_rate=0.1)
    assert epsilon(1.1, 0.1, 50, 1e-5) == pytest.approx(account.get_epsilon(1e-5))
    assert epsilon(1.1, 0.1, 0, 1e-5) == 0


def test_the_budget_adds_up_over_rounds_and_over_passes(job):
    plugin, state, seen = DifferentialPrivacy(), {}, []
    for plugins in ((plugin,), (plugin,), (plugin, Sam())):
        session = job.session(Training(batch_size=10, plugins=plugins), state=dict(state))
        seen.append(train(session)["differential_privacy/epsilon"])
        state = session.state
    assert state == {"differential_privacy/steps": 4 + 4 + 8}
    assert seen == [epsilon(1.0, 0.25, steps, 1e-5) for steps in (4, 8, 16)]


def test_the_session_and_the_model_are_as_before(job):
    session = job.session(Training(plugins=(DifferentialPrivacy(), FedProx(), ChildTuningF())))
    batches, loss = session.batches, session.loss
    train(session)
    assert (session.batches, session.loss) == (batches, loss)
    assert not any(hasattr(p, "grad_sample") or hasattr(p, "summed_grad") for p in session.model.parameters())


def test_batches_may_all_be_empty(job, monkeypatch):
    from opacus.utils.uniform_sampler import UniformWithReplacementSampler

    monkeypatch.setattr(UniformWithReplacementSampler, "__iter__", lambda sampler: iter([[]] * sampler.steps))
    session = job.session(Training(batch_size=1, plugins=(DifferentialPrivacy(),)), rows=slice(0, 3))
    assert train(session)["loss"] == 0
    assert session.state == {"differential_privacy/steps": 3}
    assert flatten(state_of(session.model)).isfinite().all()


def test_bfloat16_trains_too(job):
    session = job.session(Training(precision="bfloat16", plugins=(DifferentialPrivacy(),)))
    train(session)
    assert flatten(state_of(session.model)).isfinite().all()


@pytest.mark.parametrize(
    ("plugins", "rule"),
    [
        ((FedProx(), DifferentialPrivacy()), "must be the first plugin of the list, got FedProx before it"),
        ((DifferentialPrivacy(), ChildTuningD()), "ChildTuningD reads gradients that are not private"),
        ((DifferentialPrivacy(), Surgery(method="gradient")), "Surgery reads gradients that are not private"),
    ],
)
def test_company_that_would_spoil_it_is_refused(plugins, rule):
    with pytest.raises(UserError, match=f"^differential_privacy: {rule}"):
        Training(plugins=plugins)


def test_other_company_is_welcome():
    check_plugins((DifferentialPrivacy(), FedProx(), Surgery(), ChildTuningF(), Sam()))


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("noise_multiplier", 0.0, "must be above 0 and finite, got 0.0"),
        ("max_grad_norm", float("inf"), "must be above 0 and finite, got inf"),
        ("delta", 1.0, "must lie between 0 and 1, got 1.0"),
    ],
)
def test_a_mistake_is_named(key, value, rule):
    with pytest.raises(UserError, match=f"^{key}: {rule}"):
        DifferentialPrivacy(**{key: value})


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(UserError, match=r"opacus is not installed: pip install 'hauberk\[privacy\]'$"):
        DifferentialPrivacy()
