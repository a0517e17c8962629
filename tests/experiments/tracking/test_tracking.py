"""A run followed by the real trackers, and by one that breaks."""

from __future__ import annotations

import importlib
import json
import shutil

import pytest
import tomli_w

from hauberk.experiments import run
from hauberk.experiments.cli import _main
from hauberk.experiments.runner.progress import Quiet
from hauberk.experiments.runner.records import read_rounds
from hauberk.experiments.runner.tracked import Tracked
from hauberk.experiments.spec.loader import parse
from hauberk.experiments.tracking import base


@pytest.fixture
def two_rounds(tables):
    tables["federation"]["rounds"] = 2
    return tables


def stop_after_one(folder):
    """Makes a finished run of two rounds one that was killed after the first."""
    (folder / "summary.json").unlink()
    for path in folder.glob("checkpoint/*-0002*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_tensorboards_event_files_hold_each_round_once_and_in_order(two_rounds, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra track is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    spec = {**two_rounds, "tracking": {"name": "tensorboard", "uri": str(tmp_path / "events")}}
    folder = run(spec, out=tmp_path / "run").folder
    stop_after_one(folder)
    run(spec, out=folder, resume=True)
    events = EventAccumulator(str(tmp_path / "events" / "run")).Reload()
    assert {"accuracy", "attack_success_rate", "seconds/clients", "bytes/sent", "weights/0"} <= set(
        events.Tags()["scalars"]
    )
    found = [(one.step, one.value) for one in events.Scalars("accuracy")]
    assert found == [(line["round"], pytest.approx(line["accuracy"])) for line in read_rounds(folder)]
    assert "spec/text_summary" in events.Tags()["tensors"]


def test_mlflow_holds_the_spec_the_rounds_and_what_they_came_to(two_rounds, tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="the extra track is not installed")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    spec = {**two_rounds, "tracking": {"name": "mlflow", "uri": uri, "experiment": "ours"}}
    done = run(spec, out=tmp_path / "run")
    first = json.loads((done.folder / "mlflow.json").read_text())["run_id"]
    stop_after_one(done.folder)
    run(spec, out=done.folder, resume=True)

    client = mlflow.MlflowClient(tracking_uri=uri)
    (found,) = client.search_runs([client.get_experiment_by_name("ours").experiment_id])
    assert found.info.run_id == first  # a resumed run goes on where it was
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    assert found.data.params["attack.poison.name"] == "bad_word"
    assert found.data.tags["model_sha256"] == done.summary["model_sha256"]
    assert found.data.tags["hauberk.data"] == done.summary["identity"]["data"]
    assert found.data.metrics["final/accuracy"] == done.summary["final"]["accuracy"]
    history = {one.step: one.value for one in client.get_metric_history(first, "accuracy")}
    assert history == {line["round"]: line["accuracy"] for line in read_rounds(done.folder)}


def test_a_server_that_is_not_there_is_one_line_before_anything_is_played(
    two_rounds, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("mlflow", reason="the extra track is not installed")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    spec = tmp_path / "spec.toml"
    spec.write_text(
        tomli_w.dumps({**two_rounds, "tracking": {"name": "mlflow", "uri": "http://127.0.0.1:9"}})
    )
    assert _main(["run", str(spec), "--out", str(tmp_path / "run"), "-q"]) == 2
    errors = capsys.readouterr().err
    assert "tracking.uri: mlflow at http://127.0.0.1:9 does not answer" in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "run" / "rounds.jsonl").exists()


@pytest.mark.parametrize("name", ["mlflow", "tensorboard"])
def test_without_the_extra_the_error_names_the_command(two_rounds, tmp_path, monkeypatch, name):
    real = importlib.import_module

    def absent(wanted, *rest):
        if wanted == name:
            raise ModuleNotFoundError(f"No module named {wanted!r}")
        return real(wanted, *rest)

    monkeypatch.setattr(base.importlib, "import_module", absent)
    with pytest.raises(
        base.UserError, match=rf"tracking: {name} is not installed.*pip install 'hauberk\[track\]'"
    ):
        run({**two_rounds, "tracking": name}, out=tmp_path / "run")


class Breaking:
    """A tracker that breaks at a round, and remembers what it was told before."""

    knows = 1

    def __init__(self, breaks_at):
        self.breaks_at, self.told, self.status = breaks_at, [], None

    def log(self, number, values):
        if number == self.breaks_at:
            raise ConnectionError("the server\nis gone")
        self.told.append(number)

    def finish(self, values, tags):
        self.told.append(tags["model_sha256"])

    def close(self, status):
        self.status = status


class Warned(Quiet):
    def __init__(self):
        self.lines = []

    def warned(self, line):
        self.lines.append(line)


def test_a_tracker_that_breaks_is_one_warning_and_the_run_goes_on():
    tracker, screen = Breaking(breaks_at=3), Warned()
    with Tracked(screen, tracker, [{"round": 1}, {"round": 2}]) as shown:
        for number in (3, 4):
            shown.round_finished({"round": number})
        shown.finished({"final": {}, "costs": {}, "model_sha256": "x"})
    assert tracker.told == [2]  # of the recorded rounds what it lacks
    assert screen.lines == ["tracking: the run is followed no longer: ConnectionError: the server is gone"]


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_run_that_ends_early_says_how(error, status):
    tracker = Breaking(breaks_at=0)
    with pytest.raises(error), Tracked(Warned(), tracker):
        raise error
    assert tracker.status == status


def test_tracking_is_no_part_of_what_a_run_is(two_rounds):
    followed = parse({**two_rounds, "tracking": {"name": "tensorboard", "uri": "somewhere"}})
    assert followed.hash == parse(two_rounds).hash
    assert parse(followed.to_dict()) == followed
    with pytest.raises(base.UserError, match="did you mean 'mlflow'"):
        parse({**two_rounds, "tracking": "mlflw"})
