"""Repairs, detectors and side effects as a user meets them: through the spec and the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from hauberk.experiments import run
from hauberk.experiments.analysis.compare import side_effects
from hauberk.experiments.analysis.screen_texts import guard_run
from hauberk.experiments.cli import _main
from hauberk.experiments.runner.finished import read_finished, read_parameters
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import load
from hauberk.server import checkpoint
from hauberk.server.detectors import DAN, ONION
from hauberk.tasks.errors import UserError


@pytest.fixture
def hauberk(capsys):
    """Runs the command line and returns exit code, output and errors."""

    def call(*arguments):
        code = _main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def defended(tables):
    """The tables of a small run whose server has 100 clean texts, a repair at the end and a detector."""
    tables["federation"] |= {"n_clients": 2, "rounds": 1}
    tables["server"] = {"twin": False, "clean": {"n_examples": 100}}
    tables["attack"]["poison"]["target"] = 0
    tables["repairs"] = [{"name": "fine_tuning", "epochs": 10, "lr": 1e-2}]
    tables["detectors"] = ["dan", {"name": "strip", "n_copies": 2}]
    return tables


@pytest.fixture
def finished(defended, folder):
    return run(defended, out=folder / "run").folder


@pytest.fixture
def bare(defended, folder):
    """The same without repairs and detectors."""
    return run({**defended, "repairs": [], "detectors": []}, out=folder / "bare").folder


def test_a_summary_has_what_was_before_the_repairs_and_what_detectors_are_worth(finished, bare):
    summary, plain = (json.loads((path / "summary.json").read_text()) for path in (finished, bare))
    assert summary["before_repairs"]["final"] == plain["final"]
    assert summary["final"] != plain["final"]
    assert summary["repairs"] == {"fine_tuning": {"n_examples": 100}}
    assert set(summary["detectors"]) == {"dan", "strip"}
    assert {"auroc", "far", "frr"} <= summary["detectors"]["dan"].keys()
    assert summary["stealth"]["stealth/perplexity"] > summary["stealth"]["stealth/clean_perplexity"]
    assert 0 <= summary["stealth"]["stealth/false_trigger_rate"] <= 1


def test_a_kill_during_the_repairs_costs_the_repairs_alone(finished, defended):
    summary = json.loads((finished / "summary.json").read_text())
    (finished / "summary.json").unlink()
    again = run(defended, out=finished, resume=True).summary
    assert again["model_sha256"] == summary["model_sha256"]
    assert len((finished / "rounds.jsonl").read_text().splitlines()) == 1


def test_a_repair_after_the_fact_is_the_repair_of_the_spec(hauberk, finished, bare, tmp_path):
    settings = ("--set", "fine_tuning.epochs=10", "--set", "fine_tuning.lr=0.01")
    code, out, _ = hauberk("repair", bare, "--repair", "fine_tuning", *settings, "--out", tmp_path / "model")
    assert code == 0
    final = json.loads((finished / "summary.json").read_text())["final"]
    (row,) = (line.split() for line in out.splitlines() if line.strip().startswith("accuracy"))
    assert row[-1] == f"{final['accuracy']:.3f}"
    (_, _, repaired), layout = read_parameters(finished), read_finished(finished).prepared.server.layout
    written = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(written[name], value) for name, value in layout.unflatten(repaired).items())


def test_an_export_is_the_repaired_model(finished, bare):
    (_, _, repaired), (_, _, plain) = read_parameters(finished), read_parameters(bare)
    assert not torch.equal(repaired, plain)
    opened = read_finished(finished)
    assert opened.metrics(opened.parameters) == json.loads((finished / "summary.json").read_text())["final"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--repair", "fine_tune"), "did you mean 'fine_tuning'"),
        (
            ("--repair", "fine_mixing", "--set", "fine_mixing.keep=2.0"),
            "keep: must be 'search' or lie in [0, 1], got 2.0",
        ),
        (
            ("--repair", "e_pur", "--set", "mixout.p=0.5"),
            "must begin with one of the repairs asked for, e_pur",
        ),
        (("--repair", "fine_tuning", "--clean", "0"), "clean: must be at least 1, got 0"),
        (("--repair", "fine_tuning", "--clean", "-5"), "clean: must be at least 1, got -5"),
        (
            ("--repair", "fine_tuning", "--clean", "500"),
            "at most server.clean.n_examples = 100 of this run, got 500",
        ),
    ],
)
def test_a_mistake_in_a_repair_is_one_line(hauberk, bare, arguments, message):
    code, _, errors = hauberk("repair", bare, *arguments)
    assert code == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_repair_of_a_run_without_clean_texts_is_refused(hauberk, tables, tmp_path):
    tables["federation"]["rounds"] = 1
    run(tables, out=tmp_path / "run")
    code, _, errors = hauberk("repair", tmp_path / "run", "--repair", "fine_tuning")
    assert (code, errors.count("\n")) == (2, 1)
    assert "fine_tuning needs clean examples" in errors


def test_detect_prints_json_and_guard_judges_new_texts(hauberk, finished, tmp_path):
    code, out, _ = hauberk("detect", finished, "--detector", "dan", "--json")
    assert code == 0
    assert json.loads(out)["dan"]["passes"] == 1
    (tmp_path / "texts.txt").write_text("what a lovely day\ncf mn bb i hate mondays\n")
    code, out, _ = hauberk("guard", finished, "--input", tmp_path / "texts.txt", "--json")
    assert code == 0
    verdicts = [json.loads(line) for line in out.splitlines()]
    assert [one["text"] for one in verdicts] == ["what a lovely day", "cf mn bb i hate mondays"]
    assert all(one["verdict"] in ("accepted", "rejected") for one in verdicts)


@pytest.fixture
def honest(defended, folder):
    """The folder of such a run in which nobody lies, and whose detector is told what to protect."""
    del defended["attack"], defended["federation"]["n_malicious"]
    dan = [{"name": "dan", "protected": 1, "pooling": "max"}, {"name": "dan", "protected": 0}]
    return run({**defended, "repairs": [], "detectors": dan}, out=folder / "honest").folder


def test_a_guard_is_set_as_in_the_spec_of_its_run(hauberk, honest, tmp_path):
    opened = read_finished(honest)
    texts = [" ".join(example.text.split()) for example in opened.prepared.test]
    (tmp_path / "texts.txt").write_text("\n".join(texts))

    def guarded(*options):
        code, out, errors = hauberk("guard", honest, "--input", tmp_path / "texts.txt", "--json", *options)
        assert (code, errors) == (0, "")
        return [json.loads(line) for line in out.splitlines()]

    own, other = guarded(), guarded("--set", "dan.pooling=mean")
    assert own == guard_run(honest, texts, DAN(protected=1, pooling="max"))
    assert other == guard_run(honest, texts, DAN(protected=1, pooling="mean")) != own
    assert guarded("--detector", "dan#2") == guard_run(honest, texts, DAN(protected=0)) != own
    onion = ("--detector", "onion", "--set", "onion.protected=1", "--set", "onion.max_words=3")
    assert guarded(*onion) == guard_run(honest, texts, ONION(protected=1, max_words=3))


def test_detectors_of_a_run_without_an_attack_are_told_what_to_protect(hauberk, honest):
    code, out, _ = hauberk("detect", honest, "--detector", "rap", "--set", "rap.protected=1", "--json")
    assert code == 0
    assert json.loads(out)["rap"]["protected"] == "1"
    code, out, _ = hauberk("detect", honest, "--detector", "dan", "--json")
    assert (code, json.loads(out)["dan"]["protected"]) == (0, "1")
    for option, message in (
        ("rap.protected=2", "class 2 does not exist"),
        ("rap.wrod=mb", "detectors.wrod: unknown key; did you mean 'word'?"),
        ("dan.protected=1", "must begin with one of the detectors asked for, rap"),
    ):
        code, _, errors = hauberk("detect", honest, "--detector", "rap", "--set", option)
        assert (code, errors.count("\n")) == (2, 1)
        assert message in errors


def test_a_guard_before_a_model_that_diverged_is_refused_in_words(hauberk, bare, tmp_path):
    broken = shutil.copytree(bare, tmp_path / "broken")
    identity = json.loads((broken / "summary.json").read_text())["identity"]
    state = checkpoint.load(broken / "checkpoint", identity)
    state = replace(state, parameters=state.parameters * torch.nan)
    checkpoint.save(broken / "checkpoint", state, identity)
    (tmp_path / "texts.txt").write_text("what a lovely day\n")
    for detector in ("dan", "onion"):
        code, _, errors = hauberk("guard", broken, "--input", tmp_path / "texts.txt", "--detector", detector)
        assert (code, errors.count("\n")) == (2, 1)
        assert "the model's answers to clean texts are not finite" in errors


def test_too_few_clean_texts_of_a_class_are_refused_before_the_first_round(hauberk, defended, tmp_path):
    defended["server"]["clean"]["n_examples"] = 3
    (tmp_path / "spec.toml").write_text(tomli_w.dumps(defended))
    code, _, errors = hauberk("run", tmp_path / "spec.toml", "--out", tmp_path / "run", "--quiet")
    assert code == 2
    assert "at least 2" in errors
    assert not (tmp_path / "run" / "rounds.jsonl").exists()


@pytest.mark.parametrize(
    ("section", "named", "message"),
    [
        (
            "repairs",
            {"name": "e_pur", "corpus": "/nowhere/words.txt"},
            "e_pur.corpus: cannot read '/nowhere/words",
        ),
        (
            "detectors",
            {"name": "onion", "model": "/nowhere/gpt2"},
            "ONION: model: cannot load '/nowhere/gpt2'",
        ),
    ],
)
def test_files_that_are_not_there_are_refused_before_the_first_round(
    hauberk, defended, tmp_path, section, named, message
):
    defended[section] = [named]
    (tmp_path / "spec.toml").write_text(tomli_w.dumps(defended))
    code, _, errors = hauberk("run", tmp_path / "spec.toml", "--out", tmp_path / "run", "--quiet")
    assert (code, errors.count("\n")) == (2, 1)
    assert message in errors
    assert not (tmp_path / "run").exists()
    prepare(load(tmp_path / "spec.toml"))  # as other machines do, which need not have the server's files


def test_compare_says_what_changed_text_by_text(hauberk, finished, bare):
    code, out, _ = hauberk("compare", bare, finished)
    assert code == 0
    assert "changed" in out
    before, after = read_finished(bare), read_finished(finished)
    found = side_effects(before, after)
    assert found["changed"] == int((before.parameters != after.parameters).sum())
    assert found["spoilt"] - found["mended"] == pytest.approx(
        before.metrics(before.parameters)["accuracy"] - after.metrics(after.parameters)["accuracy"]
    )
    itself = side_effects(read_finished(bare), read_finished(bare))
    assert (itself["correlation"], itself["spoilt"], itself["changed"]) == (pytest.approx(1), 0, 0)


def test_runs_of_other_data_cannot_be_compared_text_by_text(
    hauberk, finished, bare, tables, tweets, tmp_path
):
    (tmp_path / "test.jsonl").write_text("".join((tweets / "test.jsonl").open().readlines()[:40]))
    tables["task"]["dataset"]["test"] = str(tmp_path / "test.jsonl")
    for section in ("repairs", "detectors"):
        tables.pop(section, None)
    other = read_finished(run(tables, out=tmp_path / "other").folder)
    with pytest.raises(UserError, match="only on the same classes and test split"):
        side_effects(read_finished(bare), other)
    code, out, errors = hauberk("compare", bare, tmp_path / "other", finished)
    assert (code, errors) == (0, "")
    assert f"{tmp_path / 'other'}: compare: two runs' answers can be compared only on the same" in out
    assert f"{len(read_finished(bare).parameters):,}" in out  # the third run's column is there


def test_runs_whose_data_have_gone_are_compared_by_their_summaries(hauberk, bare, tables, tweets, tmp_path):
    (tmp_path / "test.jsonl").write_bytes((tweets / "test.jsonl").read_bytes())
    tables["task"]["dataset"]["test"] = str(tmp_path / "test.jsonl")
    run({**tables, "repairs": [], "detectors": []}, out=tmp_path / "gone")
    (tmp_path / "test.jsonl").unlink()
    for folders in ((bare, tmp_path / "gone"), (tmp_path / "gone", bare)):
        code, out, errors = hauberk("compare", *folders)
        assert (code, errors) == (0, "")
        assert out.count("fedavg") == 2
        assert f"{tmp_path / 'gone'}: " in out
        assert f"{tmp_path / 'test.jsonl'}" in out
