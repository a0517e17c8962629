"""A run's folder belongs to one run and one process, and outlives a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hauberk.attacks import POISONS, Attack
from hauberk.experiments import run
from hauberk.experiments.runner.finished import read_finished
from hauberk.experiments.runner.lock import locked
from hauberk.experiments.runner.records import read_rounds
from hauberk.experiments.spec.loader import parse
from hauberk.strategies import AGGREGATORS
from hauberk.tasks.errors import UserError
from tests.helpers.tweets import small_tables

FedAvg = AGGREGATORS["fedavg"]


@dataclass(frozen=True, kw_only=True)
class MyRule(FedAvg):
    """A rule of a user's own."""

    setting: float = 1.0


@pytest.fixture
def two_rounds(tables):
    tables["federation"]["rounds"] = 2
    return tables


@pytest.fixture
def on_own_data(two_rounds, tmp_path):
    """The spec on data that a test may change."""
    for name in ("train", "test"):
        path = tmp_path / f"{name}.jsonl"
        shutil.copy(two_rounds["task"]["dataset"][name], path)
        two_rounds["task"]["dataset"][name] = str(path)
    return two_rounds


@pytest.fixture
def out(tmp_path):
    return tmp_path / "run"


@pytest.fixture(scope="module")
def played(tweets, tmp_path_factory):
    """A finished run of ``two_rounds``, which no test changes."""
    tables = small_tables(tweets)
    tables["federation"]["rounds"] = 2
    return run(tables, out=tmp_path_factory.mktemp("played") / "run")


@pytest.fixture
def finished(played, out):
    """The summary of that run, of which ``out`` is a copy."""
    shutil.copytree(played.folder, out)
    return played.summary


def stop_after(folder: Path, number: int) -> None:
    """Takes away what a run killed after round ``number`` would not have."""
    (folder / "summary.json").unlink(missing_ok=True)
    for path in (folder / "checkpoint").glob("state-*"):
        if int(path.stem.removeprefix("state-")) > number:
            path.unlink()


def change_data(tables) -> None:
    path = Path(tables["task"]["dataset"]["train"])
    path.write_text(path.read_text().replace('"text": "', '"text": "x', 1))


def refused(tables, out, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        run(tables, out=out, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Whose folder it is


def test_a_finished_run_is_never_overwritten_even_without_its_checkpoints(two_rounds, out, finished):
    shutil.rmtree(out / "checkpoint")
    before = contents(out)
    assert "another spec" in refused({**two_rounds, "seed": 1}, out)
    (out / "summary.json").unlink()
    before.pop(str(out / "summary.json"))
    assert "another spec" in refused({**two_rounds, "seed": 1}, out)
    assert contents(out) == before


def test_a_run_on_other_data_is_another_run(on_own_data, out):
    first = run(on_own_data, out=out).summary
    change_data(on_own_data)
    line = refused(on_own_data, out)
    assert f"holds a run of another data ({first['identity']['data'][:8]}, not " in line
    stop_after(out, 1)
    assert "another data" in refused(on_own_data, out, resume=True)


@pytest.mark.parametrize(("key", "value"), [("version", "0.0.9"), ("device", "cuda")])
def test_another_version_or_device_is_another_run(two_rounds, out, finished, key, value):
    own = finished["identity"]
    (out / "identity.json").write_text(json.dumps({**own, key: value}))
    assert refused(two_rounds, out) == (
        f"{out}: holds a run of another {key} ({value}, not {own[key]}); choose another --out"
    )
    (out / "identity.json").write_text(json.dumps(own))
    assert run(two_rounds, out=out).summary["identity"] == own


def test_a_checkpoint_of_another_identity_is_refused_too(two_rounds, out, finished):
    stop_after(out, 1)
    path = out / "checkpoint" / "state-0001.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "identity": {**about["identity"], "device": "cuda"}}))
    assert "the checkpoint belongs to another device (cuda, not cpu)" in refused(two_rounds, out, resume=True)


def test_a_run_from_before_there_were_identities_is_refused(two_rounds, out, finished):
    (out / "identity.json").unlink()
    line = refused(two_rounds, out)
    assert "another data (unrecorded, not " in line
    assert "another version (unrecorded, not " in line


@pytest.mark.parametrize("text", ["", "[1]", '{"spec": 3}'])
def test_a_damaged_identity_is_one_line(two_rounds, out, finished, text):
    (out / "identity.json").write_text(text)
    assert "identity.json: damaged" in refused(two_rounds, out)


def test_a_finished_run_is_not_asked_about_data_that_have_changed(on_own_data, out):
    run(on_own_data, out=out)
    assert read_finished(out).rounds == 2
    change_data(on_own_data)
    with pytest.raises(UserError, match=r"its data have changed since: another data \(.{8}, not .{8}\)$"):
        read_finished(out)


# What ran


def test_a_rule_of_ones_own_is_recorded_and_told_apart(two_rounds, out, tmp_path, capsys):
    from rich.console import Console

    from hauberk.experiments.runner.progress import Terminal

    with Terminal(Console(width=200)) as screen:
        summary = run(two_rounds, aggregator=MyRule(setting=2.0), out=out, screen=screen).summary
    assert summary["aggregator"] == "MyRule"
    described = repr(MyRule(setting=2.0))
    assert summary["given_in_python"] == {"aggregator": described}
    assert f"# aggregator, given in Python: {described}\n" in (out / "spec.toml").read_text()
    assert "MyRule" in capsys.readouterr().out
    assert parse(two_rounds).hash != summary["spec_hash"]
    assert "another spec" in refused(two_rounds, out, aggregator=MyRule(setting=3.0))
    assert run(two_rounds, aggregator=MyRule(setting=2.0), out=out).summary == summary


def test_an_attack_of_ones_own_is_recorded_and_asked_for(two_rounds, out):
    attack = Attack(poison=POISONS["bad_sentence"](target=0))
    del two_rounds["attack"]
    assert run(two_rounds, attack=attack, out=out).summary["attack"] == "bad_sentence"
    with pytest.raises(
        UserError, match=r"its attack was given in Python, Attack\(poison=.*read_finished\(run, attack"
    ):
        read_finished(out)
    assert read_finished(out, attack=attack).target == 0


class Bare(FedAvg):
    """A rule that says nothing of itself."""

    __repr__ = object.__repr__


@dataclass(frozen=True, kw_only=True)
class Holding(FedAvg):
    """A rule that holds something that says nothing of itself."""

    inner: object = None


class Plain:
    """A rule that is no dataclass."""

    def __call__(self, updates, *, context=None, state=None):
        return FedAvg()(updates, context=context, state=state)


class Keyed(Plain):
    hash_key = "my rule, version 1"


@pytest.mark.parametrize("rule", [Plain(), Holding(inner=object())])
def test_a_rule_that_another_process_cannot_know_again_is_refused_with_the_way_out(two_rounds, out, rule):
    line = refused(two_rounds, out, aggregator=rule)
    assert line.startswith("aggregator: ")
    assert "make it a dataclass, or give it a hash_key" in line
    assert not out.exists()


def test_a_hash_key_is_a_way_out(two_rounds, out):
    whole = run(two_rounds, aggregator=Keyed(), out=out).summary
    stop_after(out, 1)
    again = run(two_rounds, aggregator=Keyed(), out=out, resume=True).summary
    assert again["model_sha256"] == whole["model_sha256"]


# One process at a time


def test_two_processes_do_not_write_one_folder(two_rounds, out, tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from hauberk.experiments.runner.lock import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, out], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    line = refused(two_rounds, out)
    assert f"{out}: process {other.pid} on " in line
    assert "writes this run now" in line
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert run(two_rounds, out=out).summary["rounds"] == 2
    assert not (out / ".lock").exists()


def test_a_folder_in_which_nothing_was_written_goes_again(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "a" / "b"):
        raise KeyError
    assert not (tmp_path / "a" / "b").exists()
    with (
        locked(tmp_path / "c"),
        pytest.raises(UserError, match="writes this run now"),
        locked(tmp_path / "c"),
    ):
        pass


def test_a_place_that_cannot_be_written_is_one_line(two_rounds, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written: Not a directory" in refused(two_rounds, tmp_path / "file" / "run")


# What outlives a kill


def test_a_checkpoint_is_on_the_disk_before_its_record(two_rounds, out, monkeypatch):
    synced, real = [], os.fsync

    def fsync(descriptor):
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name.removesuffix(".part").lstrip("."))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    run({**two_rounds, "federation": {**two_rounds["federation"], "rounds": 1}}, out=out)
    start = synced.index("rounds.jsonl", synced.index("spec.toml") + 2)
    assert synced[:2] == [out.parent.name, "identity.json"]
    tail = synced[start:]
    assert [name for name in tail if name not in ("checkpoint", "run")] == [
        "rounds.jsonl", "state-0001.safetensors", "state-0001.json", "rounds.jsonl", "rounds.csv", "rounds.parquet",
        "summary.json",
    ]  # fmt: skip
    for name, folder in (("state-0001.json", "checkpoint"), ("summary.json", "run"), ("spec.toml", "run")):
        assert synced[synced.index(name) + 1] == folder


def test_a_record_without_its_checkpoint_is_played_again(two_rounds, out, finished):
    stop_after(out, 1)
    assert len(read_rounds(out)) == 2
    assert run(two_rounds, out=out, resume=True).summary["model_sha256"] == finished["model_sha256"]
    assert [line["round"] for line in read_rounds(out)] == [1, 2]


def test_a_record_that_a_kill_took_is_in_its_checkpoint_and_is_completed(two_rounds, out, finished):
    whole = read_rounds(out)
    stop_after(out, 2)
    first, _ = (out / "rounds.jsonl").read_text().splitlines()
    (out / "rounds.jsonl").write_text(f"{first}\n")
    run(two_rounds, out=out, resume=True)
    assert [without_seconds(line) for line in read_rounds(out)] == [without_seconds(line) for line in whole]
    assert whole[1]["accuracy"] is not None


def without_seconds(line):
    return {key: value for key, value in line.items() if key not in ("seconds", "wall")}


def test_rounds_that_are_not_evaluated_say_so_and_the_last_one_always_is(two_rounds, out):
    two_rounds["federation"]["rounds"] = 3
    reference = run(two_rounds, out=out).summary
    sparse = {**two_rounds, "server": {**two_rounds["server"], "evaluate_every": 2}}
    summary = run(sparse, out=out.parent / "sparse").summary
    assert summary["final"] == reference["final"]
    lines = read_rounds(out.parent / "sparse")
    assert [line.get("not_evaluated") for line in lines] == ["server.evaluate_every", None, None]
    assert [line["accuracy"] is None for line in lines] == [True, False, False]
    assert [line["attack_success_rate"] is None for line in lines] == [True, False, False]


def test_a_checkpoint_without_its_records_is_one_line(two_rounds, out, finished):
    stop_after(out, 2)
    (out / "rounds.jsonl").write_text("")
    assert "rounds.jsonl: lacks round 1" in refused(two_rounds, out, resume=True)


def test_a_resumed_run_that_fails_at_once_records_the_right_round(two_rounds, out, finished):
    from hauberk.experiments.engines.inline import InlineEngine
    from hauberk.experiments.runner.execute import run_on
    from hauberk.experiments.runner.progress import Quiet
    from hauberk.server.round import RoundFailed

    class Unreachable(InlineEngine):
        """Fails before it asks the first client."""

        def dispatch(self, prepared):
            def fail(_instructions):
                raise RoundFailed("nobody is there")

            return fail

    stop_after(out, 1)
    with pytest.raises(RoundFailed):
        run_on(Unreachable, parse(two_rounds), out, Quiet(), resume=True)
    assert [(line["round"], "failed" in line) for line in read_rounds(out)] == [(1, False), (2, True)]


def test_the_view_of_the_final_model_stays_that_of_the_final_model(played):
    finished = read_finished(played.folder)
    before = finished.view.logits(finished.prepared.test)
    finished.metrics(finished.parameters * 0)
    assert finished.view.logits(finished.prepared.test).equal(before)


def test_a_copy_of_a_spec_builds_its_own_parts(two_rounds):
    spec = parse(two_rounds)
    assert spec.parts.attack is not None
    assert spec.model_copy(update={"attack": None}).parts.attack is None
    assert replace(spec.parts, attack=None).aggregator == spec.parts.aggregator
