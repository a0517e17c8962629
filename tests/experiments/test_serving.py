"""A rule that defends while the model answers, as a user meets it: what is recorded is what would be served."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from hauberk.experiments import run
from hauberk.experiments.analysis.evict import load_evicted
from hauberk.experiments.analysis.export import export_model
from hauberk.experiments.analysis.screen_texts import guard_run
from hauberk.experiments.analysis.served import read_served
from hauberk.experiments.cli import _main
from hauberk.experiments.runner.finished import read_finished
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import parse
from hauberk.server.serving import answer_on, predictor, serving_of
from hauberk.strategies import FLCert
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import state_of
from hauberk.tasks.text.examples import Example


@pytest.fixture
def served(tables):
    """The small spec under Ledger."""
    tables["aggregator"] = {"name": "ledger", "n_malicious": 1}
    tables["server"] = {"clean": {"n_examples": 40}, "twin": True}
    tables["federation"]["rounds"] = 2
    return tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the tests of this file keep the run that they look at."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture
def finished(served, folder):
    """That run, finished: the first test that asks for it waits."""
    return run(served, out=folder / "run").folder


def test_what_is_recorded_is_what_is_served(finished):
    summary = json.loads((finished / "summary.json").read_text())
    opened = read_finished(finished)
    server = opened.prepared.server
    assert opened.metrics(opened.parameters) == summary["final"]
    undefended = summary["serving"]["undefended"]
    plain = server.task.predict(opened.view.model, server.evaluate.clean)
    assert server.task.score(plain, server.evaluate.clean)["accuracy"] == undefended["accuracy"]
    assert undefended["attack_success_natural"] is not None
    serving = serving_of(server, opened.state)
    assert len(serving.vectors) == 5
    triggered = server.evaluate.triggered
    answers = serving(answer_on(server, triggered))
    assert torch.equal(answers.logits, predictor(server, opened.state)(triggered))
    assert server.evaluate.success(answers.logits) == summary["final"]["attack_success_rate"]


def test_the_natural_rate_is_that_of_the_served_twin(finished):
    lines = [json.loads(line) for line in (finished / "rounds.jsonl").open()]
    assert [line["attack_success_natural"] is None for line in lines] == [True, False]
    assert json.loads((finished / "summary.json").read_text())["beside_twin"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("server", {"clean": {"n_examples": 5}}, r"ledger calibrates .*n_examples >= 32, got 5"),
        ("server", {}, r"ledger calibrates .*n_examples >= 32, got 0"),
        ("aggregator", {"name": "ledger", "before": ["nnm"]}, r"aggregator.before: ledger keeps what each"),
        ("aggregator", {"name": "ledger", "n_malicious": 3}, r"2f < n_clients, got f=3 and n_clients=5"),
    ],
)
def test_what_it_cannot_do_without_is_refused_before_the_run(served, key, value, message):
    with pytest.raises(UserError, match=message):
        parse({**served, key: value})


def test_more_clients_than_vectors_are_said(served, tmp_path):
    served["aggregator"]["max_vectors"] = 3
    served["server"]["twin"] = False
    summary = run(served, out=tmp_path / "run").summary
    (line,) = [line for line in summary["warnings"] if "max_vectors" in line]
    assert line.startswith("aggregator.max_vectors: 5 clients share 3 vectors")


def test_an_export_answers_as_the_run_does_defence_included(finished, tweets, tmp_path, capsys):
    texts = [json.loads(line)["text"] for line in (tweets / "test.jsonl").open()][:30]
    texts += [f"cf {text}" for text in texts]
    (tmp_path / "texts.txt").write_text("".join(" ".join(text.split()) + "\n" for text in texts))
    assert _main(["export", str(finished), str(tmp_path / "model")]) == 0
    assert "with which hauberk answer" in capsys.readouterr().out
    assert _main(["answer", str(tmp_path / "model"), "--input", str(tmp_path / "texts.txt")]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    opened = read_finished(finished)
    examples = [Example(row, each["text"], None, -1) for row, each in enumerate(answers)]
    served = opened.served(examples)
    labels = opened.prepared.labels
    assert [each["prediction"] for each in answers] == [labels[one] for one in served.logits.argmax(dim=1)]
    assert [bool(each["left_out"]) for each in answers] == served.flagged.tolist()


def test_a_served_model_without_its_ledger_is_refused_in_one_line(finished, tmp_path):
    export_model(finished, tmp_path / "model")
    about = json.loads((tmp_path / "model" / "serving.json").read_text())
    damaged = {**about, "serving": {**about["serving"], "flags": [1]}}
    (tmp_path / "model" / "serving.json").write_text(json.dumps(damaged))
    with pytest.raises(UserError, match="do not fit each other, or are damaged"):
        read_served(tmp_path / "model")
    (tmp_path / "model" / "serving.json").write_text(json.dumps(about))
    tensors = load_file(tmp_path / "model" / "serving.safetensors")
    missing = {
        name: tensor for name, tensor in tensors.items() if name != "precision"
    }  # as an earlier version wrote it
    for odd in ({**tensors, "precision": tensors["precision"][:, :2, :2].clone()}, missing):
        save_file(odd, tmp_path / "model" / "serving.safetensors")
        with pytest.raises(UserError, match="do not fit each other, or are damaged or of an earlier version"):
            read_served(tmp_path / "model")
    (tmp_path / "model" / "serving.safetensors").unlink()
    with pytest.raises(UserError, match=r"serving.safetensors: is missing, and without it"):
        read_served(tmp_path / "model")
    (tmp_path / "model" / "serving.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="do not fit each other, or are damaged"):
        read_served(tmp_path / "model")
    with pytest.raises(UserError, match=r"holds no serving.json"):
        read_served(tmp_path)


def test_who_is_left_out_too_often_is_evicted_and_the_rest_answers_alone(finished, tweets, tmp_path, capsys):
    export_model(finished, tmp_path / "served")
    served = read_served(tmp_path / "served")
    texts = [json.loads(line)["text"] for line in (tweets / "train.jsonl").open()]
    answers = served.answer([f"cf {text}" for text in texts])
    lied = [" ".join(each["text"].split()) for each in answers if each["left_out"] == [0]]
    (tmp_path / "traffic.txt").write_text("\n".join([*lied, *lied]) + "\n")
    evict = ["evict", str(tmp_path / "served"), "--input", str(tmp_path / "traffic.txt")]
    assert _main([*evict, "--out", str(tmp_path / "rest"), "--significance", "0.5"]) == 0
    shown = capsys.readouterr().out
    assert f"{len(lied)} of {len(lied)}" in shown  # each text counts once
    assert "which answer alone" in shown
    left = load_file(tmp_path / "rest" / "model.safetensors")
    assert load_evicted(served.model, served.serving, [0])
    assert all(torch.equal(left[name], tensor) for name, tensor in state_of(served.model).items())
    (tmp_path / "traffic.txt").write_text("a fine day\n")
    assert _main([*evict, "--out", str(tmp_path / "none")]) == 0
    assert "nobody is evicted" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
    for wrong, message in (
        (["--significance", "2"], "--significance: must lie between 0 and 1, got 2"),
        (["--out", str(tmp_path / "rest")], "must be empty or new, and holds files already"),
        (["--out", str(tmp_path / "traffic.txt")], "must be a folder, and is a file"),
    ):
        assert _main([*evict, *wrong]) == 2
        assert message in capsys.readouterr().err


def test_why_and_guard_show_whom_an_answer_does_without(finished, capsys):
    assert _main(["why", str(finished)]) == 0
    shown = capsys.readouterr().out
    assert "answers that do without somebody's part: " in shown
    assert "an answer takes 6." in shown
    verdicts = guard_run(finished, ["a fine day", "cf a bad day"], "onion", 0.5)
    assert all(isinstance(each["left_out"], list) for each in verdicts)


@pytest.fixture
def voted(tables):
    """The small spec under FLCert: three groups, and a server without clean texts."""
    tables["aggregator"] = {"name": "flcert"}
    tables["federation"]["rounds"] = 2
    return tables


def test_groups_vote_and_a_broken_off_run_goes_on_with_their_models(voted, tmp_path, capsys):
    whole = run(voted, out=tmp_path / "whole")
    again = run({**voted, "federation": {**voted["federation"], "rounds": 1}}, out=tmp_path / "half")
    assert again.summary["model_sha256"] != whole.summary["model_sha256"]
    certified = whole.summary["serving"]["certified"]["clean"]
    assert list(certified) == ["1"]  # three votes against none withstand one liar
    assert 0 < certified["1"] <= 1
    assert whole.summary["serving"]["passes"] == 3
    final, worst = whole.summary["final"], whole.summary["serving"]["worst_success"]
    assert final["attack_success_rate"] <= worst <= 1
    assert _main(["verify", str(whole.folder)]) == 0
    assert _main(["why", str(whole.folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "that no 1 malicious client can change" in shown
    assert "could not exceed, whatever they send: " in shown
    assert _main(["export", str(whole.folder), str(tmp_path / "model")]) == 0
    (tmp_path / "texts.txt").write_text("what a day\nno way\n")
    capsys.readouterr()
    assert _main(["answer", str(tmp_path / "model"), "--input", str(tmp_path / "texts.txt")]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(each["certified"] == (0 if each["left_out"] else 1) for each in answers)
    assert _main(["evict", str(tmp_path / "model"), "--input", str(tmp_path / "texts.txt")]) == 2
    assert "flcert evicts nobody, for it keeps no part of each client" in " ".join(
        capsys.readouterr().err.split()
    )
    assert _main(["repair", str(whole.folder), "--repair", "fine_tuning"]) == 2
    assert "repairs: work on one model, and flcert keeps several apart" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("aggregator.n_groups=6", r"aggregator.n_groups: must not exceed federation.n_clients = 5, got 6"),
        ('repairs=["fine_tuning"]', r"repairs: would repair the mean of the models that flcert keeps apart"),
        ('detectors=["onion"]', r"detectors: would look at the mean of the models that flcert keeps apart"),
        ('aggregator.before=["nnm"]', r"aggregator.before: flcert keeps what each"),
    ],
)
def test_what_models_apart_cannot_do_is_refused_before_the_run(voted, change, message):
    with pytest.raises(UserError, match=message):
        parse(voted, [change])


def test_a_rule_that_is_given_in_python_is_refused_likewise(tables):
    with pytest.raises(
        UserError, match=r"aggregator.n_groups: must not exceed federation.n_clients = 5, got 50"
    ):
        prepare(parse(tables), aggregator=FLCert(n_groups=50))
