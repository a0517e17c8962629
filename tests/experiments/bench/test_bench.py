"""A small grid on a real Ray: every cell once, failures as rows, and nothing lost to a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import tomli_w
from rich.console import Console

from hauberk.experiments.bench.command import bench_grid
from hauberk.experiments.bench.frame import cells_frame, rounds_frame
from hauberk.experiments.bench.results import read_results
from hauberk.tasks.errors import UserError

pytestmark = pytest.mark.xdist_group("processes")  # one at a time: each starts several of its own

HAUBERK = [sys.executable, "-c", "from hauberk.experiments.cli import main; main()"]


@pytest.fixture
def grid(tables, tmp_path):
    """Two rules against nobody and one attack: four cells."""
    tables = {key: value for key, value in tables.items() if key not in ("attack", "server", "name")}
    tables["federation"]["rounds"] = 2
    tables["grid"] = {
        "aggregator.name": ["fedavg", "median"],
        "attack": [{"title": "words", "poison": {"name": "bad_word", "target": 1}}],
    }
    path = tmp_path / "grid.toml"
    path.write_text(tomli_w.dumps(tables))
    return path


def quiet():
    return Console(quiet=True)


def played(results):
    return {
        cell.id: json.loads((results.folder(cell) / "summary.json").read_text())["model_sha256"]
        for cell in results.cells
    }


def test_every_cell_is_played_once_and_the_twin_is_the_cell_in_which_nobody_lies(grid, tmp_path):
    outcome = bench_grid(quiet(), grid, out=tmp_path / "out", workers=2)
    assert (outcome.finished, outcome.failed) == (4, 0)
    frame = cells_frame(read_results(tmp_path / "out"))
    assert sorted(zip(frame["rule"], frame["attack"], strict=True)) == [
        (rule, attack) for rule in ("fedavg", "median") for attack in ("none", "words")
    ]
    attacked = frame[frame["attack"] == "words"]
    assert attacked["attack_success_natural"].between(0, 1).all()
    assert set(rounds_frame(read_results(tmp_path / "out"))["round"]) == {1, 2}
    with pytest.raises(UserError, match="4 of 4 cells finished; --resume goes on"):
        bench_grid(quiet(), grid, out=tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("summary.json")}
    assert bench_grid(quiet(), grid, out=tmp_path / "out", resume=True).finished == 4
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("summary.json")}


def test_a_cell_that_fails_is_a_row_with_its_reason_and_the_others_go_on(grid, tmp_path):
    text = grid.read_text().replace('"fedavg",', '"fedavg", "krum",').replace("[grid]", "[training]\n[grid]")
    grid.write_text(text.replace("[training]\n", '[training]\noptimizer = { name = "sgd", lr = 1e30 }\n'))
    outcome = bench_grid(quiet(), grid, out=tmp_path / "out", workers=2)
    assert outcome.failed > 0
    frame = cells_frame(read_results(tmp_path / "out"))
    failed = frame[frame["status"] == "failed"]
    assert failed["reason"].str.contains("round 1 failed").all()


def test_another_grid_in_the_same_folder_is_refused(grid, tmp_path):
    bench_grid(quiet(), grid, out=tmp_path / "out", workers=2)
    grid.write_text(grid.read_text().replace('"median"', '"krum"'))
    with pytest.raises(UserError, match="holds another grid, of 4 cells of which 2 are not among these 4"):
        bench_grid(quiet(), grid, out=tmp_path / "out", resume=True)


def test_a_killed_benchmark_goes_on_to_the_same_bits(grid, tmp_path):
    command = [*HAUBERK, "bench", str(grid), "--quiet", "--workers", "1", "--out"]
    process = subprocess.Popen([*command, str(tmp_path / "killed")], start_new_session=True)
    end = time.monotonic() + 90
    while not list((tmp_path / "killed").glob("cells/*/checkpoint/state-0001.json")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert subprocess.run([*command, str(tmp_path / "killed"), "--resume"], check=False).returncode == 0
    bench_grid(quiet(), grid, out=tmp_path / "whole", workers=2)
    assert played(read_results(tmp_path / "killed")) == played(read_results(tmp_path / "whole"))
