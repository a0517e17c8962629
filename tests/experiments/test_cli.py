"""The command line: what it prints, and one line with exit code 2 for each mistake a user can make."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from hauberk.experiments.cli import _main
from tests.helpers.pictures import pictures
from tests.helpers.tweets import small_tables


@pytest.fixture
def spec_file(tables, tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(tomli_w.dumps(tables))
    return path


@pytest.fixture
def hauberk(capsys):
    """Runs the command line and returns exit code, output and errors."""

    def call(*arguments):
        code = _main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def played(tweets, tmp_path_factory):
    """A finished run's folder, which no test changes, and all that the command said."""
    folder, said = tmp_path_factory.mktemp("cli"), io.StringIO()
    (folder / "spec.toml").write_text(tomli_w.dumps(small_tables(tweets)))
    with pictures(), redirect_stdout(said), redirect_stderr(said):
        code = _main(["run", str(folder / "spec.toml"), "--out", str(folder / "run"), "--quiet"])
    assert (code, said.getvalue()) == (0, "")
    return folder / "run"


@pytest.fixture
def finished(played, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(played, tmp_path / "run")


def test_a_run_leaves_its_folder(finished, tables):
    assert {path.name for path in finished.iterdir()} == {
        "identity.json", "spec.toml", "rounds.jsonl", "summary.json", "curves.png", "checkpoint", "rounds.csv",
        "rounds.parquet",
    }  # fmt: skip
    summary = json.loads((finished / "summary.json").read_text())
    assert {
        "name", "spec_hash", "engine", "rounds", "model_sha256", "final", "seconds", "versions",
    } <= summary.keys()  # fmt: skip
    assert summary["final"].keys() == {
        "accuracy", "macro_f1", "attack_success_rate", "attack_success_floor", "attack_success_natural",
    }  # fmt: skip
    assert summary["final"].pop("attack_success_natural") is None  # server.twin = false
    assert all(0 <= value <= 1 for value in summary["final"].values())
    assert summary["knowledge"] == "own data"
    lines = [json.loads(line) for line in (finished / "rounds.jsonl").open()]
    assert [line["round"] for line in lines] == [1, 2, 3]
    assert lines[-1]["accuracy"] == summary["final"]["accuracy"]
    assert sum(lines[0]["weights"].values()) == pytest.approx(1, abs=1e-4)
    assert {"clients", "guard", "aggregate", "evaluate"} <= lines[0]["seconds"].keys()
    assert (finished / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_without_liars_both_attack_keys_are_null(hauberk, spec_file, tmp_path):
    code, out, _ = hauberk("run", spec_file, "--set", "federation.n_malicious=0", "--out", tmp_path / "run")
    final = json.loads((tmp_path / "run" / "summary.json").read_text())["final"]
    assert code == 0
    assert final["attack_success_rate"] is None
    assert final["attack_success_floor"] is None
    assert "nobody lies" in out


def test_progress_shows_each_round(hauberk, spec_file, tmp_path):
    code, out, _ = hauberk("run", spec_file, "--out", tmp_path / "run")
    assert code == 0
    assert all(f"round {number}/3" in out for number in (1, 2, 3))
    assert "attack" in out
    assert "floor" in out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["aggregator.name=kurm"], "did you mean 'krum'?"),
        (["aggregator.name=krum", "aggregator.n_malicious=2"], "f=2 and n_clients=5"),
        (["attack.poison.target=2"], "class 2 does not exist"),
        (["task.dataset.train=absent.jsonl"], "absent.jsonl"),
        (["task.dataset.text=sentence"], "sentence"),
        (["federation.n_clients=500"], "500"),
        (["federation.partition.name=pathological", "federation.partition.classes_per_client=3"], "3"),
        (["server.clean.n_examples=5000"], "5000"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(hauberk, spec_file, tmp_path, changes, message):
    options = [option for change in changes for option in ("--set", change)]
    code, _, errors = hauberk("run", spec_file, *options, "--out", tmp_path / "run", "--quiet")
    assert code == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("", "train.jsonl"),
        ('{"text": "a", "label": 0}\n{"text": "b"}\n', "label"),
        ('{"text": "a", "label": "good"}\n{"text": "b", "label": "bad"}\n', "0"),
        ("not json\n", "train.jsonl"),
    ],
)
def test_odd_data_are_one_line_and_exit_code_2(hauberk, spec_file, tmp_path, train, message):
    path = tmp_path / "train.jsonl"
    path.write_text(train)
    code, _, errors = hauberk(
        "run", spec_file, "--set", f"task.dataset.train={path}", "--out", tmp_path / "r", "-q"
    )
    assert code == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_missing_spec_and_a_broken_one(hauberk, tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    assert hauberk("run", tmp_path / "absent.toml")[0] == 2
    code, _, errors = hauberk("run", broken)
    assert code == 2
    assert "not a TOML file" in errors


def test_unknown_options_and_commands_are_exit_code_2(hauberk, spec_file):
    assert hauberk("run", spec_file, "--fast")[0] == 2
    assert hauberk("fly")[0] == 2


def test_another_specs_run_is_not_overwritten(hauberk, spec_file, finished):
    before = (finished / "summary.json").read_bytes()
    code, _, errors = hauberk("run", spec_file, "--set", "seed=7", "--out", finished)
    assert code == 2
    assert "another spec" in errors
    assert (finished / "summary.json").read_bytes() == before


def test_a_folder_with_other_files_is_left_alone(hauberk, spec_file, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    code, _, errors = hauberk("run", spec_file, "--out", tmp_path / "mine")
    assert code == 2
    assert "other files" in errors


def test_a_checkpoint_cut_short_is_one_line(hauberk, spec_file, finished):
    (finished / "summary.json").unlink()
    tensors = finished / "checkpoint" / "state-0003.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])
    code, _, errors = hauberk("run", spec_file, "--out", finished, "--resume")
    assert code == 2
    assert "100 of" in errors
    for path in finished.glob("checkpoint/state-0003.*"):
        path.unlink()
    assert hauberk("run", spec_file, "--out", finished, "--resume", "-q")[0] == 0


def test_an_unfinished_run_asks_for_resume(hauberk, spec_file, finished):
    (finished / "summary.json").unlink()
    code, _, errors = hauberk("run", spec_file, "--out", finished)
    assert code == 2
    assert "--resume" in errors


def test_export_writes_the_model_and_its_labels(hauberk, finished, tmp_path):
    code, out, _ = hauberk("export", finished, tmp_path / "model")
    assert code == 0
    assert "model.safetensors" in out
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert json.loads((tmp_path / "model" / "labels.json").read_text())["labels"] == ["0", "1"]
    assert hauberk("export", finished, tmp_path / "model")[0] == 2


def test_list_names_everything_a_spec_can_use(hauberk):
    code, out, _ = hauberk("list", "--json")
    names = json.loads(out)
    assert code == 0
    assert {"aggregators", "attacks", "datasets", "models", "plugins"} <= names.keys()
    assert {"fedavg", "median", "krum", "multi_krum", "dim_krum"} <= names["aggregators"].keys()
    assert names["attacks"]["bad_word"]["words"] == ["cf", "mn", "bb"]
    assert hauberk("list", "aggregator")[0] == 2


def test_plan_estimates_minutes_and_memory(hauberk, spec_file):
    code, out, _ = hauberk("plan", spec_file)
    assert code == 0
    assert "minutes" in out
    assert "GB of memory" in out
    assert all(stage in out for stage in ("a round:", "clients", "evaluate"))


def test_plan_refuses_what_no_memory_holds(hauberk, spec_file, monkeypatch):
    monkeypatch.setattr("hauberk.experiments.runner.plan.available_gb", lambda: 0.0)
    code, _, errors = hauberk("plan", spec_file)
    assert code == 2
    assert "and 0.0 are free" in errors


def test_compare_shows_runs_side_by_side(hauberk, finished, spec_file, tmp_path):
    assert hauberk("run", spec_file, "--set", "seed=1", "--out", tmp_path / "other", "-q")[0] == 0
    code, out, _ = hauberk("compare", finished, tmp_path / "other", "--plot", tmp_path / "both.png")
    assert code == 0
    assert out.count("fedavg") == 2
    assert (tmp_path / "both.png").stat().st_size > 5_000


def test_a_kept_round_is_replayed_through_every_convention(hauberk, spec_file, tmp_path):
    options = ("--set", "server.keep_updates=[2]", "--set", 'aggregator.before=["nnm"]')
    assert hauberk("run", spec_file, *options, "--out", tmp_path / "run", "--quiet")[0] == 0
    code, out, _ = hauberk("crosscheck", tmp_path / "run", "--round", "2")
    assert code == 0
    assert "liars [0]" in out
    assert {"krum", "multi_krum", "rfa", "flame", "byzfl", "paper"} <= set(out.split())
    code, _, errors = hauberk("crosscheck", tmp_path / "run", "--round", "3")
    assert code == 2
    assert "keep_updates=[3]" in errors


def test_theory_shows_and_draws_the_detection_errors(hauberk, finished, spec_file, tmp_path):
    code, out, _ = hauberk("theory", finished)
    assert code == 0
    assert "predicted" in out
    assert (finished / "theory.png").stat().st_size > 10_000
    assert (
        hauberk("run", spec_file, "--set", "federation.n_malicious=0", "--out", tmp_path / "clean", "-q")[0]
        == 0
    )
    code, _, errors = hauberk("theory", tmp_path / "clean")
    assert code == 2
    assert "nobody lied" in errors


def test_an_interrupted_command_says_so_and_fails(hauberk, finished, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hauberk.experiments.analysis.repair.repair_run", interrupted)
    code, _, errors = hauberk("repair", finished, "--repair", "fine_tuning")
    assert (code, errors.strip()) == (130, "hauberk: interrupted")


def test_the_version_is_that_of_the_package(hauberk):
    assert hauberk("--version") == (0, f"hauberk {version('hauberk')}\n", "")
