"""Same seed, same bits: in this process, on Ray with one worker or two, and after a kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
import tomli_w
import torch

from hauberk.experiments import run
from hauberk.experiments.analysis.repair import repairs_of, with_workers
from hauberk.experiments.runner.finished import read_finished
from hauberk.experiments.runner.records import read_rounds

pytestmark = pytest.mark.timeout(600)
starts_ray = pytest.mark.xdist_group("processes")  # one at a time: each starts several processes of its own

HAUBERK = [sys.executable, "-c", "from hauberk.experiments.cli import main; main()"]
STOP_S = 15.0  # five on a machine that does nothing else
FOR_EVER = {"epochs": 10**6, "max_steps": 10**6}


@pytest.fixture
def reference(tables, tmp_path):
    """The run in this process that all others must equal."""
    return run(tables, out=tmp_path / "reference").summary


@pytest.fixture(scope="module")
def session():
    """A Ray session that several runs use."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def changed(tables, **engine):
    return {**tables, "engine": {**tables["engine"], **engine}}


@starts_ray
@pytest.mark.parametrize("workers", [1, 2])
def test_ray_gives_the_same_bits_with_any_number_of_workers(tables, tmp_path, reference, session, workers):
    summary = run(changed(tables, name="ray", workers=workers), out=tmp_path / "ray").summary
    assert summary["model_sha256"] == reference["model_sha256"]
    assert summary["engine"] == "ray"
    ours, theirs = (
        [[line[name] for name in reference["final"]] for line in read_rounds(tmp_path / engine)]
        for engine in ("ray", "reference")
    )
    assert ours == theirs
    assert None not in ours[0][:4]


@starts_ray
def test_what_a_rule_serves_is_the_same_bits_on_ray(tables, tmp_path, session):
    tables["aggregator"] = {"name": "ledger", "n_malicious": 1}
    tables["server"] |= {"clean": {"n_examples": 40}}
    tables["federation"]["rounds"] = 2
    here = run(tables, out=tmp_path / "here").summary
    there = run(changed(tables, name="ray", workers=2), out=tmp_path / "there").summary
    assert (there["model_sha256"], there["final"]) == (here["model_sha256"], here["final"])


@starts_ray
@pytest.mark.parametrize("engine", ["ray", "flower"])
def test_clients_that_start_from_different_models_do_so_in_every_engine(tables, tmp_path, session, engine):
    tables["aggregator"] = {"name": "flcert", "n_groups": 2}
    tables["federation"]["rounds"] = 2
    here = run(tables, out=tmp_path / "here").summary
    there = run(changed(tables, name=engine, workers=2), out=tmp_path / "there").summary
    assert (there["model_sha256"], there["final"]) == (here["model_sha256"], here["final"])
    assert there["serving"]["certified"] == here["serving"]["certified"]
    assert here["serving"]["passes"] == 2


@starts_ray
def test_a_search_finds_on_the_workers_what_it_finds_here(tables, tmp_path, session):
    on_ray = changed(tables, name="ray", workers=2)
    on_ray |= {"server": {"clean": {"n_examples": 16}}, "repairs": [{"name": "fine_mixing", "epochs": 1}]}
    on_ray["federation"]["rounds"] = 1
    there = run(on_ray, out=tmp_path / "there")
    finished, steps = read_finished(there.folder), repairs_of(["fine_mixing"], ["fine_mixing.epochs=1"])
    # A finished run's own model is repaired already: it is repaired once more, here and on workers.
    here, reports = finished.repaired(steps)
    with with_workers(finished, steps) as shared:
        assert shared is not finished
        again, others = shared.repaired(steps)
    assert torch.equal(again, here)
    assert others == reports
    inline = run({**on_ray, "engine": tables["engine"]}, out=tmp_path / "inline").summary
    assert there.summary["repairs"] == inline["repairs"]
    assert there.summary["model_sha256"] == inline["model_sha256"]


@starts_ray
def test_metrics_that_a_kill_took_are_measured_again_on_the_workers(tables, tmp_path, session):
    whole = run(tables, out=tmp_path / "run")
    lines = [json.loads(line) for line in (whole.folder / "rounds.jsonl").open()]
    (whole.folder / "summary.json").unlink()
    (whole.folder / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    again = run(changed(tables, name="ray", workers=2), out=tmp_path / "run", resume=True)
    assert again.summary["final"] == whole.summary["final"]
    assert [line["round"] for line in read_rounds(again.folder)] == [1, 2, 3]


@starts_ray
def test_flowers_own_simulation_gives_the_same_bits(tables, tmp_path, reference):
    summary = run(changed(tables, name="flower", workers=2), out=tmp_path / "flower").summary
    assert summary["model_sha256"] == reference["model_sha256"]
    assert summary["engine"] == "flower"


def test_another_name_gives_the_same_bits_and_another_seed_does_not(tables, tmp_path, reference):
    assert (
        run({**tables, "name": "other"}, out=tmp_path / "a").summary["model_sha256"]
        == reference["model_sha256"]
    )
    assert run({**tables, "seed": 1}, out=tmp_path / "b").summary["model_sha256"] != reference["model_sha256"]


def test_a_killed_run_resumes_to_the_same_bits(tables, tmp_path, reference):
    out, spec = tmp_path / "killed", tmp_path / "spec.toml"
    spec.write_text(tomli_w.dumps(tables))
    process = subprocess.Popen([*HAUBERK, "run", str(spec), "--out", str(out), "--quiet"])
    wait_for(out / "checkpoint" / "state-0001.json", process)
    process.kill()
    process.wait()
    assert not (out / "summary.json").exists()
    summary = run(tables, out=out, resume=True).summary
    assert summary["model_sha256"] == reference["model_sha256"]
    assert [json.loads(line)["round"] for line in (out / "rounds.jsonl").open()] == [1, 2, 3]


@starts_ray
def test_ctrl_c_stops_soon_and_leaves_a_resumable_run(tables, tmp_path):
    tables["federation"]["rounds"] = 500
    out, spec = tmp_path / "stopped", tmp_path / "spec.toml"
    spec.write_text(tomli_w.dumps(changed(tables, name="ray", workers=2)))
    command = [*HAUBERK, "run", str(spec), "--out", str(out), "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(out / "checkpoint" / "state-0002.json", process)
    children = descendants(process.pid)
    assert any("ray" in name for name in children.values())
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - asked < STOP_S
    assert process.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    while any(map(alive, children)) and time.monotonic() - asked < 2 * STOP_S:
        time.sleep(0.1)
    assert [name for pid, name in children.items() if alive(pid)] == []
    assert not (out / "summary.json").exists()
    state = max(json.loads(path.read_text())["round"] for path in (out / "checkpoint").glob("*.json"))
    tables["federation"]["rounds"] = 500
    # Who stops does not wait for the metrics of the round before: its checkpoint holds the rest of the record.
    assert n_lines(out / "rounds.jsonl") in (state - 1, state)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_the_last_repairs_ends_them_at_once_and_keeps_the_rounds(tables, tmp_path, number):
    tables |= {
        "server": {"twin": False, "clean": {"n_examples": 20}},
        "repairs": [{"name": "fine_tuning", **FOR_EVER}],
    }
    out, spec = tmp_path / "stopped", tmp_path / "spec.toml"
    spec.write_text(tomli_w.dumps(tables))
    command = [*HAUBERK, "run", str(spec), "--out", str(out), "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(out / "checkpoint" / "state-0003.json", process)
    wait_until(lambda: n_lines(out / "rounds.jsonl") == 3, process, "third line of rounds.jsonl")
    time.sleep(0.5)  # the repairs begin behind it, and would never end
    process.send_signal(number)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 130
    assert errors.splitlines() == ["hauberk: stopped; --resume goes on from the last checkpoint"]
    assert n_lines(out / "rounds.jsonl") == 3
    assert not (out / "summary.json").exists()


def wait_for(path: Path, process: subprocess.Popen) -> None:
    wait_until(path.exists, process, path.name)


def wait_until(true: Callable[[], bool], process: subprocess.Popen, what: str, seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, f"the run ended with {process.returncode} before {what}"
        assert time.monotonic() < end, f"no {what} after {seconds} s"
        time.sleep(0.02)


def n_lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def descendants(pid: int) -> dict[int, str]:
    """The living processes of the session that ``pid`` leads, and their names (Ray starts sessions of its own)."""
    found, frontier = {}, [pid]
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            status = _status(int(entry.name))
            if status:
                parents.setdefault(int(status["PPid"]), []).append(int(entry.name))
    while frontier:
        for child in parents.get(frontier.pop(), []):
            found[child] = (_status(child) or {}).get("Name", "")
            frontier.append(child)
    return found


def alive(pid: int) -> bool:
    status = _status(pid)
    return status is not None and not status["State"].startswith("Z")


def _status(pid: int) -> dict[str, str] | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines if ":" in line)}


def test_a_finished_run_is_not_run_again(tables, tmp_path, reference):
    started = os.stat(tmp_path / "reference" / "rounds.jsonl").st_mtime_ns
    assert run(tables, out=tmp_path / "reference").summary == reference
    assert os.stat(tmp_path / "reference" / "rounds.jsonl").st_mtime_ns == started
