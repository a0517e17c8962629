"""The natural rate: what the trigger does to the same federation when nobody lies."""

from __future__ import annotations

import json
import shutil

import pytest

from hauberk.experiments import run
from hauberk.experiments.runner.data import SharedData
from hauberk.experiments.runner.records import read_rounds
from hauberk.server.round import RoundFailed
from tests.helpers.tweets import small_tables


def attacked_tables(tweets):
    tables = small_tables(tweets)
    return {**tables, "server": {"twin": True}, "federation": {**tables["federation"], "rounds": 2}}


@pytest.fixture
def attacked(tweets):
    return attacked_tables(tweets)


@pytest.fixture(scope="module")
def alone(tweets, tmp_path_factory):
    """The attacked run, alone in its folder with its twin, which no test changes."""
    return run(attacked_tables(tweets), out=tmp_path_factory.mktemp("alone") / "run")


@pytest.fixture(scope="module")
def honest(tweets, tmp_path_factory):
    """The folder of a run in which nobody lies and of the twin that it leaves for others; likewise."""
    tables = {key: value for key, value in attacked_tables(tweets).items() if key != "attack"}
    folder = tmp_path_factory.mktemp("honest")
    run(tables, out=folder / "honest", shared=SharedData())
    return folder


def twins(folder):
    return sorted(path for path in (folder / ".twins").iterdir() if path.is_dir())


def test_the_natural_rate_is_that_of_the_run_in_which_nobody_lies(attacked, alone, tmp_path):
    (twin,) = twins(alone.folder.parent)
    honest = {key: value for key, value in attacked.items() if key != "attack"}
    summary = run(honest, out=tmp_path / "honest").summary
    assert json.loads((twin / "summary.json").read_text())["model_sha256"] == summary["model_sha256"]
    rates = [line["attack_success_natural"] for line in read_rounds(alone.folder)]
    assert all(0 <= rate <= 1 for rate in rates)
    assert alone.summary["final"]["attack_success_natural"] == rates[-1]
    assert summary["final"]["attack_success_natural"] is None


def test_an_attack_that_does_nothing_succeeds_at_its_natural_rate(attacked, tmp_path):
    attacked["attack"] = {"poison": {"name": "bad_word", "target": 1, "rate": 0.0}}
    for line in read_rounds(run(attacked, out=tmp_path / "run").folder):
        assert line["attack_success_rate"] == line["attack_success_natural"]


def test_a_run_in_which_nobody_lies_is_the_twin_of_those_beside_it(attacked, honest, alone, tmp_path):
    shutil.copytree(honest, tmp_path, dirs_exist_ok=True)
    (twin,) = twins(tmp_path)
    before = (twin / "summary.json").stat().st_mtime_ns
    shared = run(attacked, out=tmp_path / "run").summary
    assert twins(tmp_path) == [twin]
    assert (twin / "summary.json").stat().st_mtime_ns == before
    assert shared["final"] == alone.summary["final"]
    assert read_rounds(twin)[-1]["accuracy"] == read_rounds(twins(alone.folder.parent)[0])[-1]["accuracy"]


def test_a_twin_that_was_shared_half_is_played_again(attacked, honest, alone, tmp_path):
    shutil.copytree(honest, tmp_path, dirs_exist_ok=True)
    (twin,) = twins(tmp_path)
    (twin / "summary.json").unlink()  # killed before it was whole
    rate = run(attacked, out=tmp_path / "run").summary["final"]["attack_success_natural"]
    assert rate == alone.summary["final"]["attack_success_natural"]


def test_runs_with_other_attacks_share_their_twin_and_those_with_another_rule_do_not(
    attacked, alone, tmp_path
):
    shutil.copytree(alone.folder.parent, tmp_path, dirs_exist_ok=True)
    (twin,) = twins(tmp_path)
    played = (twin / "summary.json").stat().st_mtime_ns
    run({**attacked, "attack": {"poison": {"name": "bad_sentence", "target": 0}}}, out=tmp_path / "b")
    assert twins(tmp_path) == [twin]
    assert (twin / "summary.json").stat().st_mtime_ns == played
    assert len(list((twin / "natural").iterdir())) == 2
    run({**attacked, "aggregator": {"name": "median"}}, out=tmp_path / "c")
    assert len(twins(tmp_path)) == 2


def test_the_twin_does_not_change_the_run_and_can_be_switched_off(attacked, alone, tmp_path):
    with_twin = alone.summary
    without = run({**attacked, "server": {"twin": False}}, out=tmp_path / "apart" / "without").summary
    assert with_twin["model_sha256"] == without["model_sha256"]
    assert with_twin["spec_hash"] == without["spec_hash"]
    assert without["final"]["attack_success_natural"] is None
    assert not (tmp_path / "apart" / ".twins").exists()


def test_a_twin_that_was_stopped_goes_on_where_it_was(attacked, alone, tmp_path):
    shutil.copytree(alone.folder.parent, tmp_path, dirs_exist_ok=True)
    (twin,) = twins(tmp_path)
    rates = list((twin / "natural").iterdir())
    for path in (twin / "summary.json", *(twin / "checkpoint").glob("state-0002.*"), *rates):
        path.unlink()
    (twin / "models" / "round-0002.safetensors").unlink()
    assert run(attacked, out=tmp_path / "again").summary["final"] == alone.summary["final"]
    assert len(read_rounds(twin)) == 2


def test_beside_repairs_at_the_end_the_natural_rate_is_that_before_them(attacked, tmp_path):
    attacked["server"] = {"twin": True, "clean": {"n_examples": 20}}
    attacked["repairs"] = [{"name": "fine_tuning", "epochs": 1}]
    summary = run(attacked, out=tmp_path / "run").summary
    natural = summary["final"]["attack_success_natural"]
    assert natural == summary["before_repairs"]["final"]["attack_success_natural"] is not None
    (twin,) = twins(tmp_path)
    assert "before_repairs" not in json.loads((twin / "summary.json").read_text())


def test_a_round_that_fails_in_the_twin_is_the_runs_failure_too(attacked, tmp_path):
    attacked["training"] = {"optimizer": {"name": "sgd", "lr": 1e30}}
    with pytest.raises(RoundFailed, match=r"round \d failed"):
        run(attacked, out=tmp_path / "run")
