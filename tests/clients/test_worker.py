from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from hauberk.attacks import TAMPERS, Attack, BadWord, Distributed, Forge, ModelReplacement, SignFlip, Tamper
from hauberk.attacks.schedules import Always, Window
from hauberk.clients import Training
from hauberk.clients.optimizers import SGD
from hauberk.clients.plugins import GradientClip, Plugin
from hauberk.tasks.seeds import generator

WORD = BadWord(words=("cf",))
SMALL = {"dfep": {"n_samples": 8, "corpus": __file__}}
ATTACKS = [
    None,
    Attack(poison=BadWord(rate=0.5)),
    *(Attack(poison=WORD, tamper=cls(**SMALL.get(name, {}))) for name, cls in TAMPERS.items()),
]


@dataclass(frozen=True, kw_only=True)
class Counter(Plugin):
    """Counts this client's rounds in its state."""

    def finish(self, session):
        session.state["counter/rounds"] = session.state.get("counter/rounds", 0) + 1
        return {}


@dataclass(frozen=True, kw_only=True)
class Rude(Plugin):
    """Raises, freezes the model and leaves gradients behind."""

    def gradients(self, session):
        for parameter in session.model.parameters():
            parameter.requires_grad_(False)
        raise RuntimeError("no more")


@dataclass(frozen=True, kw_only=True)
class Hoarder(Tamper):
    """Never clears a gradient."""

    def train(self, session):
        for batch in session.batches(0):
            session.loss(session.model, batch).backward()
            session.optimizer.step()
        return {}


@dataclass(frozen=True, kw_only=True)
class Dice(Plugin):
    """Reports what torch's global generator draws, as dropout does."""

    def finish(self, session):
        return {"dice": float(torch.rand(()))}


@dataclass(frozen=True, kw_only=True)
class Peek(Tamper):
    """Notes what it is given, and sends the opposite."""

    seen: ClassVar[dict] = {}

    def train(self, session):
        self.seen.update(session=session, poison=session.poison, data=len(session.data))
        self.seen.update(more=len(session.encode(session.examples)))
        return {**session.train(), "peek": 1.0}

    def send(self, update, session):
        self.seen.update(table=session.reference["words.weight"].shape[0], update=update)
        return -update


def delta(job, reply):
    before = job.parameters()
    return np.concatenate([(reply.arrays[name] - before[name]).ravel() for name in before])


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
@pytest.mark.parametrize("client_id", [0, 2])
def test_a_reply_is_a_function_of_the_instruction_alone(job, attack, client_id, bits):
    worker = job.worker(attack, 1)
    first = worker.fit(job.instruction(client_id))
    worker.fit(job.instruction(1, round=5))
    torch.manual_seed(99)
    assert bits(worker.fit(job.instruction(client_id)), first)
    assert bits(job.worker(attack, 1).fit(job.instruction(client_id)), first)


@pytest.mark.parametrize("changed", [{"round": 2}, {"client_id": 1}], ids=str)
def test_another_round_and_another_client_draw_other_numbers(job, changed, bits):
    twins = replace_partitions(job)
    first, second = (twins.worker().fit(twins.instruction(**{"client_id": 0, **c})) for c in ({}, changed))
    assert not bits(first, second)


def test_dropout_draws_anew_in_every_round_and_client(job):
    training = Training(plugins=(Dice(),))
    worker = job.worker()
    asked = [(0, 1), (0, 2), (1, 1), (0, 1)]
    draws = [worker.fit(job.instruction(c, r, training=training)).report["dice"] for c, r in asked]
    assert len(set(draws)) == 3
    assert draws[0] == draws[3]


def test_gradients_of_an_earlier_round_are_gone(job, bits):
    worker = job.worker(Attack(tamper=Hoarder()), 2)
    first = worker.fit(job.instruction())
    worker.fit(job.instruction(1))
    assert bits(worker.fit(job.instruction()), first)


def replace_partitions(job):
    """Returns the job with all clients on the same texts, so that only the draws differ."""
    return replace(job, partitions=(np.arange(12),) * 3)


def test_the_caller_keeps_its_random_numbers_and_its_threads(job):
    torch.set_num_threads(2)
    before = torch.get_rng_state()
    job.worker(threads=1).fit(job.instruction())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_a_client_computes_with_its_own_threads(job, monkeypatch):
    seen = []
    monkeypatch.setattr(Counter, "setup", lambda self, session: seen.append(torch.get_num_threads()))
    job.worker(threads=2).fit(job.instruction(training=Training(plugins=(Counter(),))))
    assert seen == [2]


def test_an_honest_reply_holds_every_tensor_and_the_clients_own_count(job):
    reply = job.worker(Attack(poison=BadWord()), 1).fit(job.instruction(1))
    parameters = job.parameters()
    assert {name: a.shape for name, a in reply.arrays.items()} == {n: p.shape for n, p in parameters.items()}
    assert {array.dtype for array in reply.arrays.values()} == {np.dtype("float32")}
    assert (reply.client_id, reply.n_examples, reply.error) == (1, 13, None)
    assert np.abs(delta(job, reply)).max() > 0


def test_replies_share_no_memory_with_the_worker(job):
    worker = job.worker()
    first = worker.fit(job.instruction())
    kept = {name: array.copy() for name, array in first.arrays.items()}
    worker.fit(job.instruction(1))
    assert all(np.array_equal(first.arrays[name], kept[name]) for name in kept)


def test_the_instruction_is_left_alone(job):
    instruction = job.instruction(state={"a": [1]}, training=Training(plugins=(Counter(),)))
    job.worker().fit(instruction)
    assert instruction.state == {"a": [1]}
    fresh = job.parameters()
    assert all(np.array_equal(instruction.parameters[name], fresh[name]) for name in fresh)


def test_state_goes_out_and_comes_back(job):
    training = Training(plugins=(Counter(),))
    worker = job.worker()
    first = worker.fit(job.instruction(training=training))
    second = worker.fit(job.instruction(training=training, state=first.state))
    assert (first.state, second.state) == ({"counter/rounds": 1}, {"counter/rounds": 2})


def test_a_client_that_raises_lets_it_out_and_harms_no_later_round(job, bits):
    worker = job.worker()
    expected = worker.fit(job.instruction())
    with pytest.raises(RuntimeError, match="no more"):
        worker.fit(job.instruction(1, training=Training(plugins=(Rude(),))))
    assert bits(worker.fit(job.instruction()), expected)


def test_only_the_first_clients_lie(job, bits):
    lying, honest = job.worker(Attack(poison=BadWord()), 1), job.worker()
    same = [bits(lying.fit(job.instruction(i)), honest.fit(job.instruction(i))) for i in range(3)]
    assert same == [False, True, True]


def test_who_lies_follows_the_schedule(job, bits):
    honest = job.worker()
    attack = Attack(poison=BadWord(), schedule=Window(first=2, last=3))
    lying = job.worker(attack, 1)
    same = [bits(lying.fit(job.instruction(0, n)), honest.fit(job.instruction(0, n))) for n in (1, 2, 3, 4)]
    assert same == [True, False, False, True]
    assert [lying.attack_of(0, number) for number in (1, 2)] == [None, attack]
    assert lying.attack_of(1, 2) is None


def test_random_liars_are_the_same_for_worker_and_server(job):
    attack = Attack(poison=Distributed(target=1), tamper=Peek(), schedule=Always(ids="random"))
    worker = job.worker(attack, 2)
    rounds = {number: worker.attackers(number) for number in range(1, 9)}
    assert len(set(rounds.values())) > 1
    for number, who in rounds.items():
        assert who == attack.attackers(number, n_clients=3, n_malicious=2, seed=3)
        assert [client for client in range(3) if worker.attack_of(client, number)] == list(who)
    number, (_, last) = next((number, who) for number, who in rounds.items() if who != (0, 1))
    worker.fit(job.instruction(last, number, sampled=(last,)))
    session = Peek.seen["session"]
    assert (session.attacker.index, session.attacker.n_attackers, session.n_attackers) == (
        1,
        2,
        1,
    )


def test_a_poisoned_client_trains_on_exactly_what_its_poison_returns(job):
    for mode in ("append", "replace"):
        poison = BadWord(target=1, rate=0.5, mode=mode)
        worker = job.worker(Attack(poison=poison, tamper=Peek()), 1)
        reply = worker.fit(job.instruction(round=4))
        data = Peek.seen["session"].data
        clean = [job.examples[row] for row in job.partitions[0]]
        expected = job.task.encode(poison(clean, Peek.seen["session"].attacker, generator(3, 4, 0, "poison")))
        assert reply.n_examples == len(data) == (15 if mode == "append" else 12)
        assert texts_of(data) == texts_of(expected)


def texts_of(encoded):
    parts = np.split(encoded.tokens, encoded.offsets[1:-1])
    return sorted(
        (int(i), int(y), t.tolist()) for i, y, t in zip(encoded.index, encoded.labels, parts, strict=True)
    )


def test_a_tamper_sees_the_session_and_changes_what_is_sent(job):
    attack = Attack(poison=BadWord(), tamper=Peek())
    reply = job.worker(attack, 2).fit(job.instruction(1, sampled=(0, 1)))
    plain = job.worker(Attack(poison=BadWord()), 2).fit(job.instruction(1, sampled=(0, 1)))
    session = Peek.seen["session"]
    assert (session.n_clients, session.n_attackers, session.attacker.index) == (2, 2, 1)
    assert session.poison == BadWord()
    assert Peek.seen["table"] == 30522
    assert Peek.seen["more"] == 13
    assert reply.report["peek"] == 1.0
    np.testing.assert_allclose(delta(job, reply), -delta(job, plain), atol=1e-6)


def test_the_round_counts_only_attackers_that_were_asked(job):
    attack = Attack(tamper=ModelReplacement())
    plain = delta(job, job.worker().fit(job.instruction()))
    for asked, factor in (((0, 2), 2.0), ((0, 1, 2), 1.5), ((), 1.5)):
        sent = delta(job, job.worker(attack, 2).fit(job.instruction(sampled=asked)))
        np.testing.assert_allclose(sent, factor * plain, atol=1e-5)


def test_a_tamper_that_changes_nothing_sends_the_very_bits(job, bits):
    idle = job.worker(Attack(tamper=Tamper()), 1).fit(job.instruction())
    assert bits(idle, job.worker().fit(job.instruction()))


def test_a_forge_alone_leaves_training_honest(job, bits):
    forging = job.worker(Attack(forge=SignFlip()), 1).fit(job.instruction())
    assert isinstance(SignFlip(), Forge)
    assert bits(forging, job.worker().fit(job.instruction()))


@pytest.mark.parametrize("keep", [False, True])
def test_a_liar_drops_the_plugins_unless_told_to_keep_them(job, keep):
    attack = Attack(poison=BadWord(), keep_plugins=keep)
    training = Training(plugins=(GradientClip(),))
    reports = [job.worker(attack, 1).fit(job.instruction(i, training=training)).report for i in (0, 1)]
    assert ["gradient_clip/share" in report for report in reports] == [keep, True]


def test_weights_that_are_not_finite_are_sent_on(job):
    diverging = Training(epochs=3, optimizer=SGD(lr=1e30))
    reply = job.worker().fit(job.instruction(training=diverging))
    assert not all(np.isfinite(array).all() for array in reply.arrays.values())


def test_a_model_of_another_layout_is_refused(job):
    instruction = job.instruction()
    wrong = {name: value for name, value in instruction.parameters.items() if name != "classifier.bias"}
    with pytest.raises(ValueError, match=r"classifier\.bias"):
        job.worker().fit(replace(instruction, parameters=wrong))
