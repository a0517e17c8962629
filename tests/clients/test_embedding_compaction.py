import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hauberk.attacks import TAMPERS, Attack, BadWord, ModelReplacement, Tamper
from hauberk.clients import Training
from hauberk.clients.embedding_compaction import LANES, WORTH_IT, active_rows, compacted, is_exact
from hauberk.clients.optimizers import SGD, Adam, AdamW
from hauberk.clients.plugins import FedProx, GradientClip
from hauberk.strategies.update_matrix import UpdateMatrix, layout_of
from hauberk.tasks.parameters import flatten, state_of


class Table(nn.Module):
    """Nothing but a word table."""

    def __init__(self, n=200, **settings):
        super().__init__()
        self.embedding = nn.Embedding(n, 5, **settings)


@given(
    n=st.integers(20, 400),
    share=st.lists(st.floats(0, 0.999), min_size=1, max_size=40),
    pad=st.floats(0, 0.999),
)
def test_all_that_is_used_stays_and_the_tail_is_the_same(n, share, pad):
    tokens, pad_id = [int(n * part) for part in share], int(n * pad)
    rows = active_rows(Table(n, padding_idx=3), np.array([*tokens, pad_id]))
    used = {*tokens, pad_id, 3, *range(max(0, n - LANES), n)}
    left_out = (n - len(used)) // LANES * LANES
    assert (rows is None) == ((n - left_out) / n >= WORTH_IT)
    if rows is None:
        return
    assert used <= set(rows.tolist())
    assert n - len(rows) == left_out
    assert (np.diff(rows) > 0).all()
    assert len(rows) < 0.8 * n


def test_most_rows_are_left_out(job):
    rows = active_rows(job.task.build(0), job.task.embedding_rows(job.encoded))
    assert len(rows) < 200


@pytest.mark.parametrize(
    "model",
    [
        nn.Linear(2, 2),
        Table(max_norm=1.0),
        Table(scale_grad_by_freq=True),
        Table(sparse=True),
        Table(20),
    ],
    ids=["no table", "max_norm", "scaled gradients", "sparse", "small"],
)
def test_it_steps_aside_where_it_would_differ_or_gain_nothing(model):
    assert active_rows(model, np.array([1, 2])) is None


def test_it_steps_aside_for_a_frozen_and_for_a_shared_table():
    frozen, shared = Table(), Table()
    frozen.embedding.weight.requires_grad_(False)
    shared.head = nn.Linear(5, 200)
    shared.head.weight = shared.embedding.weight
    assert active_rows(frozen, np.array([1])) is None
    assert active_rows(shared, np.array([1])) is None
    assert active_rows(Table(), np.array([1])) is not None


def test_only_settings_that_leave_unused_rows_alone_are_exact():
    assert is_exact(Training())
    assert is_exact(Training(plugins=(FedProx(),)), ModelReplacement())
    assert not is_exact(Training(optimizer=AdamW()))
    assert not is_exact(Training(optimizer=SGD(weight_decay=0.1)))
    assert not is_exact(Training(plugins=(FedProx(), GradientClip())))
    assert not is_exact(Training(), Tamper())


def test_the_table_looks_up_the_same_vectors_and_comes_back_with_what_they_became():
    model = Table(padding_idx=7)
    whole, before = model.embedding.weight, model.embedding.weight.detach().clone()
    rows = active_rows(model, np.array([5, 90, 7]))
    with compacted(model, rows):
        assert len(model.embedding.weight) == len(rows)
        assert torch.equal(model.embedding(torch.tensor([90, 7])), before[[90, 7]])
        with pytest.raises(IndexError):
            model.embedding(torch.tensor([6]))
        model.embedding(torch.tensor([5, 7])).sum().backward()
        model.embedding.weight.data -= model.embedding.weight.grad
    assert model.embedding.weight is whole
    assert (model.embedding.padding_idx, model.embedding.num_embeddings) == (7, 200)
    before[5] -= 1  # the padding row has no gradient
    assert torch.equal(whole.detach(), before)
    assert torch.equal(model.embedding(torch.tensor([6])), before[[6]])


def test_the_table_comes_back_after_an_error():
    model = Table()
    whole = model.embedding.weight
    with pytest.raises(RuntimeError, match="boom"), compacted(model, np.arange(16)):
        raise RuntimeError("boom")
    assert model.embedding.weight is whole
    assert len(model.embedding._forward_pre_hooks) == 0


narrow = [cls() for cls in TAMPERS.values() if not cls().whole_table]
NARROW = [None, *(Attack(poison=BadWord(), tamper=tamper) for tamper in (None, *narrow))]


@pytest.mark.parametrize("attack", NARROW, ids=lambda attack: type(attack and attack.tamper).__name__)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_round_has_the_same_bits(job, optimizer, precision, attack, bits):
    training = Training(epochs=2, batch_size=4, optimizer=optimizer, precision=precision)
    workers = (job.worker(attack, 1, compact=compact) for compact in (True, False))
    small, whole = (worker.fit(job.instruction(training=training)) for worker in workers)
    assert bits(small, whole)
    assert small.report == whole.report


@pytest.mark.parametrize("attack", [None, Attack(poison=BadWord()), *NARROW[2:3]], ids=repr)
def test_the_rows_that_were_trained_make_the_same_row_of_the_matrix_as_the_whole_table(job, attack):
    instruction = job.instruction(0)
    made = {}
    for lent in (False, True):
        reply = job.worker(attack, 1).fit(instruction, lent=lent)
        layout = layout_of(instruction.parameters)
        matrix = UpdateMatrix([0], layout, flatten(instruction.parameters))
        matrix.add(reply)
        made[lent] = matrix.close().updates.numpy().tobytes(), sum(a.nbytes for a in reply.arrays.values())
    assert made[True][0] == made[False][0]
    lies = attack is not None and attack.tamper is not None
    assert (made[True][1] == made[False][1]) if lies else (made[True][1] < made[False][1] / 5)


@pytest.mark.parametrize("optimizer", [Adam(lr=0.1), SGD(momentum=0.9)], ids=repr)
@pytest.mark.parametrize("width", [1, 3, 5])
def test_the_odd_end_of_the_table_has_the_same_bits(optimizer, width):
    """A vectorised kernel treats the end of a tensor apart, and rounds differently there."""
    words, n = torch.cat([torch.arange(40), torch.arange(300, 331)]), 331
    rng = torch.Generator().manual_seed(0)
    steps = torch.randn(200, len(words), width, generator=rng).mul_(10).exp_()
    ends = []
    for rows in (None, active_rows(Table(n), words.numpy())):
        model = Table(n)
        model.embedding = nn.Embedding(n, width, _weight=torch.linspace(-1, 1, n * width).view(n, width))
        with compacted(model, rows):
            stepper = optimizer.build(model.parameters())
            for step in steps:
                stepper.zero_grad()
                (model.embedding(words) * step).sum().backward()
                stepper.step()
        ends.append(state_of(model)["embedding.weight"])
    assert torch.equal(*ends)


def test_a_round_really_runs_on_fewer_rows(job, monkeypatch):
    seen, plain = [], Adam.build

    def counting(self, parameters):
        parameters = list(parameters)
        seen.append(sum(parameter.numel() for parameter in parameters))
        return plain(self, parameters)

    monkeypatch.setattr(Adam, "build", counting)
    for compact in (True, False):
        job.worker(compact=compact).fit(job.instruction())
    assert seen[0] < seen[1] / 100
