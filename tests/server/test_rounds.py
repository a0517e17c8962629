"""A round: who is asked, who lies, what the colluders send, and what is recorded of it."""

from __future__ import annotations

import pytest

from hauberk.experiments import run
from hauberk.experiments.folder import read_rounds


def rounds_of(tables, tmp_path, **attack):
    tables["attack"] = {"poison": {"name": "bad_word", "target": 1}, **attack}
    return read_rounds(run(tables, out=tmp_path / "run").folder)


def test_attackers_act_when_their_schedule_says(tables, tmp_path):
    lines = rounds_of(tables, tmp_path, schedule={"name": "window", "first": 2, "last": 2})
    assert [line["malicious"] for line in lines] == [[], [0], []]


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


def test_a_forged_row_replaces_what_was_trained(tables, tmp_path):
    tables["federation"]["n_malicious"] = 2
    honest = run(tables, out=tmp_path / "honest")
    tables["attack"]["forge"] = {"name": "sign_flip", "scale": 5.0}
    forged = run(tables, out=tmp_path / "forged")
    assert forged.summary["model_sha256"] != honest.summary["model_sha256"]
    trained = [read_rounds(done.folder)[0]["clients"] for done in (honest, forged)]
    assert trained[0] == trained[1]


def test_an_untargeted_attack_has_no_success_rate(tables, tmp_path):
    tables["attack"] = {"poison": {"name": "label_flip", "untargeted": True}}
    final = run(tables, out=tmp_path / "run").summary["final"]
    assert final["attack_success_rate"] is None
    assert final["attack_success_floor"] is None


def test_an_attack_with_a_test_set_of_its_own_is_measured_on_it(tables, tmp_path):
    tables["attack"] = {"poison": {"name": "edge_case", "target": 1}}
    final = run(tables, out=tmp_path / "run").summary["final"]
    assert 0 <= final["attack_success_rate"] <= 1
    assert 0 <= final["attack_success_floor"] <= 1


@pytest.mark.parametrize("rule", ["fltrust", "flame", "dim_krum"])
def test_a_forge_tries_the_rule_with_all_that_it_may_know(tables, tmp_path, rule):
    tables["attack"]["forge"] = "optimised_ipm"
    tables["server"] = {"clean": {"n_examples": 20}}
    tables["aggregator"] = rule
    first = run(tables, out=tmp_path / "a").summary["model_sha256"]
    assert run(tables, out=tmp_path / "b").summary["model_sha256"] == first
    assert all(line["forensics"]["forge/strength"] > 0 for line in read_rounds(tmp_path / "a"))
