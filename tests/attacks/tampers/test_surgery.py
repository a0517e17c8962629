import pytest
import torch

from hauberk.attacks import BadWord, Surgery
from hauberk.clients import Training
from hauberk.clients.optimizers import SGD, AdamW
from hauberk.tasks.parameters import flatten
from hauberk.tasks.surgery import METHODS

POISON = BadWord(words=("cf",), target=1)


def test_a_budget_is_a_share_below_one_and_a_count_from_one_on():
    assert Surgery(budget=1e-3).n_allowed(5000) == 5
    assert Surgery(budget=1e-5).n_allowed(5000) == 1
    assert Surgery(budget=7).n_allowed(5000) == 7
    assert Surgery(budget=7000).n_allowed(5000) == 5000


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("optimizer", [SGD(lr=0.1, momentum=0.9), AdamW(lr=1e-2, weight_decay=0.1)], ids=repr)
def test_no_more_than_the_budget_changes_whatever_the_optimiser(method, optimizer, arena):
    session = arena.session(POISON, training=Training(batch_size=8, optimizer=optimizer))
    report, update = arena.run(Surgery(method=method, budget=25, penalty=1e-3, lr=0.1), session)
    changed = int((update != 0).sum())
    assert report["surgery/changed"] == changed
    assert changed <= 25
    if method != "random":  # of a table of which few rows are in use
        assert changed > 15


@pytest.mark.parametrize("method", ["delta", "gradient", "random", "dynamic"])
def test_exactly_the_budget_is_chosen(method, arena):
    assert int(Surgery(method=method, budget=33).selected(arena.session(POISON)).sum()) == 33


@pytest.mark.parametrize("method", ["delta", "gradient", "random"])
def test_choosing_leaves_the_model_as_received(method, arena):
    session = arena.session(POISON)
    Surgery(method=method, budget=33).selected(session)
    now = {name: value.detach() for name, value in session.model.named_parameters()}
    assert all(torch.equal(now[name], session.reference[name]) for name in now)


def test_every_stage_of_dynamic_keeps_a_share_and_puts_the_others_back(arena, monkeypatch):
    session, stages = arena.session(POISON), []
    train_only = Surgery._train_only

    def spy(self, session, mask, epochs):
        before = flatten({n: p.detach() for n, p in session.model.named_parameters()})
        started = before - flatten(session.reference)
        stages.append((int(mask.sum()), bool(started[~mask].any())))
        return train_only(self, session, mask, epochs)

    monkeypatch.setattr(Surgery, "_train_only", spy)
    arena.run(Surgery(budget=100, keep=0.1), session)
    sizes, strays = zip(*stages, strict=True)
    n = len(flatten(session.reference))
    assert sizes == (n, n // 10, n // 100, n // 1000, 100)
    assert not any(strays)


def test_dynamic_goes_on_from_where_the_kept_ones_are(arena):
    session = arena.session(POISON)
    mask = Surgery(budget=33).selected(session)
    moved = flatten({n: p.detach() for n, p in session.model.named_parameters()}) - flatten(session.reference)
    assert moved[mask].any()
    assert not moved[~mask].any()


def test_the_gradient_chooses_the_largest(arena):
    session = arena.session(POISON)
    mask = Surgery(method="gradient", budget=10).selected(session)
    used = torch.zeros(30522, dtype=torch.bool)
    used[session.data.tokens] = True
    rows = mask[: 30522 * 8].view(30522, 8).any(dim=1)
    assert not (rows & ~used).any()


def test_a_larger_penalty_leaves_fewer_changes(arena):
    counts = []
    for penalty in (0.0, 0.3, 1.0, 1e3):
        training = Training(batch_size=8, optimizer=SGD(lr=0.1))
        tamper = Surgery(method="lagrange", budget=1e9, penalty=penalty, epochs=2)
        update = arena.run(tamper, arena.session(POISON, training=training))[1]
        counts.append(int((update != 0).sum()))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[1] > 0
    assert counts[-1] == 0


def test_few_changes_leave_clean_answers_alone(arena):
    session = arena.session(POISON)
    for _ in range(3):  # until no text's answer is close
        session.train()
    session.reference = {name: value.detach().clone() for name, value in session.model.state_dict().items()}
    report, _ = arena.run(Surgery(budget=5, lr=0.05), session)
    assert report["surgery/correlation"] > 0.9
    assert report["surgery/spoilt"] == 0


def test_its_own_learning_rate_is_used_and_the_sessions_stays(arena):
    slow, fast = (arena.session(POISON) for _ in range(2))
    small = arena.run(Surgery(method="gradient", budget=10, lr=1e-6), slow)[1]
    large = arena.run(Surgery(method="gradient", budget=10, lr=1e-1), fast)[1]
    assert small.abs().max() < 1e-3 < large.abs().max()
    assert slow.training.optimizer.lr == 1e-2
