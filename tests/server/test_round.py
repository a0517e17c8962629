"""A round: who is asked, who lies, what the colluders send, and what is recorded of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest
import torch

from hauberk.attacks import ALIE, Attack, BadWord, Collusion, Forge, Mimic, SignFlip, Tamper
from hauberk.attacks.schedules import Always, Every, SingleShot
from hauberk.attacks.threat_model import OWN_DATA
from hauberk.experiments import run
from hauberk.experiments.runner.records import read_rounds
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import parse
from hauberk.server.collusion import forge
from hauberk.server.round import sample
from hauberk.server.server import aggregation_context
from hauberk.server.update_store import read
from hauberk.strategies.update_matrix import Reply, UpdateMatrix
from hauberk.tasks.text.metrics import predict


@dataclass(frozen=True, kw_only=True)
class Seen(Forge):
    """Keeps what the colluders are shown, and sends zeros."""

    shown: list[Collusion] = field(default_factory=list, compare=False)

    def __call__(self, collusion, rng):
        self.shown.append(replace(collusion, own=collusion.own.clone()))  # its rows are written anew
        return torch.zeros_like(collusion.own)


@dataclass(frozen=True, kw_only=True)
class Scribbler(Forge):
    """Writes where it may only read."""

    def __call__(self, collusion, rng):
        collusion.benign.zero_()
        return torch.zeros_like(collusion.own)


@dataclass(frozen=True, kw_only=True)
class SeenAlone(Seen):
    """The same by one who needs nobody else's updates."""

    knowledge: ClassVar[str] = OWN_DATA


def collude(tables, spy, *, rows, round=1, **settings):
    """Lets the colluders forge once, each client having sent ``rows[client]`` in every coordinate."""
    attack = Attack(forge=spy, **settings)
    prepared = prepare(parse(tables), attack=attack)
    server, start = prepared.server, prepared.start
    matrix = UpdateMatrix(sorted(rows), server.layout, start.parameters, server.guard)
    for client, value in rows.items():
        arrays = {
            name: part.numpy() for name, part in server.layout.unflatten(start.parameters + value).items()
        }
        matrix.add(Reply(client, arrays))
    lying = [client for client in rows if client in attack.attackers(round, **numbers(server))]
    forge(server, start, round, matrix, lying)
    return matrix


def numbers(server):
    return {"n_clients": server.n_clients, "n_malicious": server.n_malicious, "seed": server.seed}


def rounds_of(tables, tmp_path, **attack):
    tables["attack"] = {"poison": {"name": "bad_word", "target": 1}, **attack}
    return read_rounds(run(tables, out=tmp_path / "run").folder)


def test_attackers_act_when_their_schedule_says(tables, tmp_path):
    lines = rounds_of(tables, tmp_path, schedule={"name": "window", "first": 2, "last": 2})
    assert [line["malicious"] for line in lines] == [[], [0], []]


def test_every_record_carries_what_the_attackers_know(tables, tmp_path):
    lines = rounds_of(tables, tmp_path, forge="mimic", schedule={"name": "single_shot", "round": 2})
    assert [line["knowledge"] for line in lines] == ["benign updates"] * 3
    tables["federation"]["n_malicious"] = 0
    assert read_rounds(run(tables, out=tmp_path / "honest").folder)[0]["knowledge"] is None


def test_random_attackers_change_and_are_a_function_of_the_seed(tables, tmp_path):
    tables["federation"]["rounds"] = 6
    lines = rounds_of(tables, tmp_path, schedule={"name": "always", "ids": "random"})
    liars = [line["malicious"] for line in lines]
    assert all(len(ids) == 1 for ids in liars)
    assert len({ids[0] for ids in liars}) > 1
    again = rounds_of(tables, tmp_path / "again", schedule={"name": "always", "ids": "random"})
    assert [line["malicious"] for line in again] == liars


def test_a_part_of_the_clients_is_sampled_anew_each_round(tables, tmp_path):
    tables["federation"] |= {"clients_per_round": 3, "rounds": 6}
    lines = rounds_of(tables, tmp_path)
    assert all(len(line["sampled"]) == 3 for line in lines)
    assert len({tuple(line["sampled"]) for line in lines}) > 1
    assert all(set(line["malicious"]) == {0} & set(line["sampled"]) for line in lines)


def test_a_forge_that_writes_into_the_honest_rows_is_stopped(tables):
    with pytest.raises(ValueError, match=r"^Scribbler wrote into the updates that it was shown\.$"):
        collude(tables, Scribbler(), rows={0: 1.0, 1: 2.0, 2: 3.0})


def test_a_forged_row_replaces_what_was_trained(tables, tmp_path):
    tables["federation"]["n_malicious"] = 2
    honest = run(tables, out=tmp_path / "honest")
    tables["attack"]["forge"] = {"name": "sign_flip", "scale": 5.0}
    forged = run(tables, out=tmp_path / "forged")
    assert forged.summary["model_sha256"] != honest.summary["model_sha256"]
    trained = [read_rounds(done.folder)[0]["clients"] for done in (honest, forged)]
    assert trained[0] == trained[1]


def test_colluders_alone_forge_what_takes_no_benign_updates_and_send_the_rest_as_trained(tables):
    tables["federation"]["n_malicious"] = 2
    for spy, value in ((SeenAlone(), 0.0), (Seen(), 1.0)):
        matrix = collude(tables, spy, rows={0: 1.0, 1: 1.0})
        assert torch.allclose(matrix.row(0), torch.tensor(value), atol=1e-6)
        assert [len(shown.benign) for shown in spy.shown] == [0] * isinstance(spy, SeenAlone)


def test_a_row_that_the_guard_will_refuse_is_no_benign_update(tables):
    spy = Seen()
    matrix = collude(tables, spy, rows={0: 1.0, 1: 2.0, 2: float("nan"), 3: 3.0})
    (shown,) = spy.shown
    assert shown.benign[:, 0].tolist() == pytest.approx([2.0, 3.0], abs=1e-5)
    assert shown.aggregate(torch.cat([shown.own, shown.benign])).isfinite().all()
    assert matrix.close().client_ids == (0, 1, 3)


def test_a_rule_is_tried_with_other_random_draws_than_the_servers_and_the_same_in_every_try(tables):
    tables["aggregator"] = {"name": "dim_krum", "noise": 1.0}
    spy = Seen()
    collude(tables, spy, rows={client: float(client) for client in range(5)})
    (shown,) = spy.shown
    rows = torch.cat([shown.own, shown.benign])
    first, second = (shown.aggregate(rows) for _ in range(2))
    prepared = prepare(parse(tables))
    known = aggregation_context(prepared.server, prepared.start, 1, tuple(range(5)), (1.0,) * 5)
    assert torch.equal(first, second)
    assert not torch.equal(first, prepared.server.aggregate(rows, context=known).update)


def test_a_colluders_history_is_its_own_and_of_the_rounds_that_asked_it(tables):
    tables["federation"] |= {"n_clients": 6, "n_malicious": 2, "clients_per_round": 4}
    schedule, spy = Always(ids="random"), Seen()
    server = prepare(parse(tables)).server
    lies = {number: schedule.attackers(number, **numbers(server)) for number in range(1, 9)}
    colluder = lies[8][0]
    collude(
        tables,
        spy,
        rows=dict.fromkeys(sorted({*range(6)} - {lies[8][1]}), 1.0),
        round=8,
        schedule=schedule,
    )
    ((history,),) = (shown.history for shown in spy.shown)
    asked = [number for number in range(1, 8) if colluder in sample(server, number)]
    assert history == tuple(colluder in lies[number] for number in asked)
    assert 0 < len(asked) < 7
    assert not all(history)


@dataclass(frozen=True, kw_only=True)
class Past(Tamper):
    """Keeps what its sessions say of the rounds before."""

    seen: list = field(default_factory=list, compare=False)

    def train(self, session):
        self.seen.append((session.round, session.history))
        return session.train()


def test_an_attacker_is_told_in_which_rounds_it_was_honest_where_every_round_asks_all(tables, tmp_path):
    past = Past()
    run(tables, attack=Attack(tamper=past, schedule=Every(k=2, first=1)), out=tmp_path / "all")
    assert past.seen == [(1, ()), (3, (True, False))]
    tables["federation"] |= {"clients_per_round": 4, "n_malicious": 2}
    run(tables, attack=Attack(tamper=past), out=tmp_path / "part")
    assert {history for _, history in past.seen[2:]} == {()}


def warnings_of(tables, **attack):
    return prepare(parse(tables), attack=Attack(**attack) if attack else None).warnings


def test_attackers_who_are_never_asked_when_they_act_are_warned_about(tables):
    tables["federation"] |= {"n_clients": 20, "clients_per_round": 2}
    server = prepare(parse(tables)).server
    asked = [number for number in range(1, 40) if 0 in sample(server, number)]
    tables["federation"]["rounds"] = 40
    missed = warnings_of(tables, poison=BadWord(target=1), schedule=SingleShot(round=asked[0] + 1))
    assert asked[0] + 1 not in asked
    assert missed[-1] == (
        "attack.schedule: no attacker is asked in a round in which it acts, with n_malicious=1 and "
        "2 of 20 clients asked a round: nobody attacks"
    )
    assert not warnings_of(tables, poison=BadWord(target=1), schedule=SingleShot(round=asked[0]))
    assert not warnings_of(tables, poison=BadWord(target=1))


def test_rounds_that_ask_attackers_alone_are_warned_about_where_a_forge_needs_others(tables):
    tables["federation"] |= {"n_malicious": 4, "clients_per_round": 1, "rounds": 8}
    server = prepare(parse(tables)).server
    alone = sum(sample(server, number) != [4] for number in range(1, 9))
    assert warnings_of(tables, forge=Mimic()) == [
        f"attack.forge: Mimic needs benign updates, and {alone} of 8 rounds ask attackers alone, with n_malicious=4 "
        "and 1 of 5 clients asked a round: there they send what they trained"
    ]
    assert warnings_of(tables, forge=SignFlip()) == []
    assert (
        warnings_of({**tables, "federation": {**tables["federation"], "clients_per_round": 5}}, forge=Mimic())
        == []
    )


def test_a_forge_is_checked_with_the_attackers_to_be_expected_in_a_round(tables):
    tables["federation"] |= {"n_clients": 20, "n_malicious": 4, "clients_per_round": 5}
    assert warnings_of(tables, forge=ALIE()) == [
        "attack.forge: ALIE's z is 0.00 for n_clients=5 and n_malicious=1, so its floor of 0.3 is used"
    ]
    tables["federation"]["n_malicious"] = 1  # a fifth of a client, if so many are asked: one, if any
    assert "n_malicious=1" in warnings_of(tables, forge=ALIE())[0]


def test_an_attack_of_ones_own_without_attackers_is_said_to_be_none(tables):
    tables["federation"]["n_malicious"] = 0
    del tables["attack"]
    (line,) = warnings_of(tables, poison=BadWord(target=1))
    assert line == "there is an attack, but federation.n_malicious = 0: nobody lies"
    assert warnings_of(tables) == []


def test_an_untargeted_attack_has_no_success_rate(tables, tmp_path):
    tables["attack"] = {"poison": {"name": "label_flip", "untargeted": True}}
    final = run(tables, out=tmp_path / "run").summary["final"]
    assert final["attack_success_rate"] is None
    assert final["attack_success_floor"] is None


def test_an_attack_with_a_test_set_of_its_own_is_measured_on_it_and_its_floor_on_all_victims(
    tables, tweets, tmp_path
):
    texts = [json.loads(line)["text"] for line in (tweets / "train.jsonl").open()]
    paths = {"train": [f"lo , {text}" for text in texts], "test": [f"lo and behold {n}" for n in range(7)]}
    for name, rows in paths.items():
        lines = [json.dumps({"text": text, "label": 1}) + "\n" for text in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    files = {name: str(tmp_path / f"{name}.jsonl") for name in paths}
    tables["attack"] = {"poison": {"name": "syntactic", "target": 1, **files}}
    prepared = prepare(parse(tables))
    evaluate, server = prepared.server.evaluate, prepared.server
    victims = [row for row, one in enumerate(prepared.test) if one.label != 1]
    assert [one.tolist() for one in (evaluate.triggered.index, evaluate.rows)] == [[-1] * 7, victims]
    metrics = evaluate(server.model)
    taken = predict(server.model, evaluate.clean).argmax(dim=1)[victims] == 1
    assert metrics["attack_success_floor"] == pytest.approx(float(taken.float().mean()))
    assert metrics["attack_success_rate"] * 7 == pytest.approx(round(metrics["attack_success_rate"] * 7))


@pytest.mark.parametrize("rule", ["fltrust", "flame", "dim_krum"])
def test_a_forge_tries_the_rule_with_all_that_it_may_know(tables, tmp_path, rule):
    tables["attack"]["forge"] = "optimised_ipm"
    tables["server"] = {"twin": False, "clean": {"n_examples": 20}}
    tables["aggregator"] = rule
    first = run(tables, out=tmp_path / "a").summary["model_sha256"]
    assert run(tables, out=tmp_path / "b").summary["model_sha256"] == first
    assert all(line["forensics"]["forge/strength"] > 0 for line in read_rounds(tmp_path / "a"))


def test_any_attack_is_sent_at_a_factor(tables, tmp_path):
    tables["server"] = {"twin": False, "keep_updates": [1]}
    tables["federation"]["rounds"] = 1
    poison = tables["attack"]["poison"]

    def sent(name, **attack):
        result = run({**tables, "attack": attack}, out=tmp_path / name)
        return result.summary["model_sha256"], read(result.folder, 1).updates

    plain, shorter = sent("plain", poison=poison), sent("shorter", poison=poison, scale=0.5)
    torch.testing.assert_close(shorter[1][0], 0.5 * plain[1][0], atol=1e-6, rtol=1e-5)
    assert torch.equal(shorter[1][1:], plain[1][1:])
    replaced = {"poison": poison, "tamper": {"name": "model_replacement", "scale": 0.5}}
    assert sent("replaced", **replaced)[0] == shorter[0]
    # A forge sees its own updates whole, and what it makes of them is scaled.
    forged = sent("forged", poison=poison, forge="sign_flip")[1]
    scaled = sent("scaled", poison=poison, forge="sign_flip", scale=2.0)[1]
    torch.testing.assert_close(scaled[0], 2 * forged[0], atol=1e-6, rtol=1e-5)
