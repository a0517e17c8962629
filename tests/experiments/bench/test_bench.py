"""A small grid on a real Ray: every cell once, failures as rows, and nothing lost to Ctrl-C or a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import ray
import tomli_w
from rich.console import Console

from hauberk.experiments.bench import pool
from hauberk.experiments.bench.bench import Outcome
from hauberk.experiments.bench.command import bench_grid, show_outcome
from hauberk.experiments.bench.frame import cells_frame, rounds_frame
from hauberk.experiments.bench.grid import check_cells
from hauberk.experiments.bench.grid_file import read_grid
from hauberk.experiments.bench.report import report_benchmark, versions_of
from hauberk.experiments.bench.results import open_results, read_results
from hauberk.experiments.engines.cluster import connect
from hauberk.tasks.errors import UserError

pytestmark = [
    pytest.mark.xdist_group("processes"),  # one at a time: each starts several of its own
    pytest.mark.timeout(600),
]

HAUBERK = [sys.executable, "-c", "from hauberk.experiments.cli import main; main()"]
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def grid(tweets, tmp_path_factory):
    """Two rules against nobody and one attack: four cells of four rounds."""
    tables = {
        "name": "small",
        "task": {
            "dataset": {
                "name": "files",
                "train": str(tweets / "train.jsonl"),
                "test": str(tweets / "test.jsonl"),
            },
            "model": {"name": "text_cnn", "embedding_dim": 8, "n_filters": 4},
        },
        "federation": {"n_clients": 5, "n_malicious": 1, "rounds": 4},
        "aggregator": {"name": "fedavg"},
        "grid": {
            "aggregator.name": ["fedavg", "median"],
            "attack": [{"title": "words", "poison": {"name": "bad_word", "target": 1}}],
        },
    }
    path = tmp_path_factory.mktemp("grid") / "grid.toml"
    path.write_text(tomli_w.dumps(tables))
    return path


@pytest.fixture(scope="module")
def session():
    """One Ray for all tests that play in this process: each start takes seconds."""
    connect("local")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def whole(grid, session, tmp_path_factory):
    """The grid, played undisturbed by two workers, and what came of it."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    return folder, bench_grid(QUIET, grid, out=folder, workers=2)


def models(folder):
    results = read_results(folder)
    return {
        cell.id: json.loads((results.folder(cell) / "summary.json").read_text())["model_sha256"]
        for cell in results.cells
    }


def played_at(folder):
    return {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/summary.json")}


def test_every_cell_is_played_once_and_the_twin_is_the_cell_in_which_nobody_lies(whole):
    folder, outcome = whole
    assert (outcome.finished, outcome.failed) == (4, 0)
    frame = cells_frame(read_results(folder))
    assert sorted(zip(frame["rule"], frame["attack"], strict=True)) == [
        (rule, attack) for rule in ("fedavg", "median") for attack in ("none", "words")
    ]
    attacked = frame[frame["attack"] == "words"]
    assert attacked["attack_success_natural"].between(0, 1).all()
    assert set(rounds_frame(read_results(folder))["round"]) == {1, 2, 3, 4}
    twins = [path for path in (folder / "cells" / ".twins").iterdir() if path.is_dir()]
    assert len(twins) == 2
    assert not any(
        (twin / "checkpoint").exists() for twin in twins
    )  # none was played as a twin beside its cell


def test_what_is_finished_is_not_played_again_and_the_grid_can_grow(whole, grid, session, tmp_path):
    folder, _ = whole
    before = played_at(folder)
    with pytest.raises(UserError, match="4 of 4 cells finished; --resume goes on"):
        bench_grid(QUIET, grid, out=folder)
    assert bench_grid(QUIET, grid, out=folder, resume=True).finished == 4
    assert played_at(folder) == before
    grown = tmp_path / "grown.toml"
    grown.write_text(grid.read_text().replace('"median",', '"median", "krum",'))
    cells = read_grid(grown).cells()
    copy = shutil.copytree(folder, tmp_path / "copy")
    results = open_results(copy, read_grid(grown), cells, check_cells(cells), resume=True)
    assert [results.status(cell) for cell in results.cells] == ["finished"] * 4 + ["missing"] * 2


def test_another_grid_in_the_same_folder_is_refused(whole, grid, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(grid.read_text().replace('"median"', '"krum"'))
    with pytest.raises(UserError, match="holds another grid, of 4 cells of which 2 are not among these 4"):
        bench_grid(QUIET, other, out=whole[0], resume=True)


def test_a_cell_that_fails_is_a_row_with_its_reason_and_the_others_go_on(grid, session, tmp_path):
    hopeless = tmp_path / "hopeless.toml"
    sgd = 'training.optimizer = { name = "sgd", lr = 1e30 }'
    variants = f'variant = [{{ title = "fedavg" }}, {{ title = "hopeless", {sgd} }}]'
    hopeless.write_text(grid.read_text().replace("[grid]\n", f"[grid]\n{variants}\n"))
    only = ("aggregator.name=fedavg", "attack=none")
    outcome = bench_grid(QUIET, hopeless, out=tmp_path / "out", workers=1, only=only)
    assert (outcome.finished, outcome.failed) == (1, 1)
    frame = cells_frame(read_results(tmp_path / "out")).set_index("rule")
    assert frame["status"].to_dict() == {"fedavg, fedavg": "finished", "fedavg, hopeless": "failed"}
    assert "round 1 failed" in frame.loc["fedavg, hopeless", "reason"]


def test_where_no_worker_can_start_the_benchmark_ends_and_says_so(session, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "START_S", 0.5)  # as when Ray's last node has died: it waits for another one
    late = pytest.raises(UserError, match=r"no worker could start for 0\.5 s: .*--resume goes on")
    with pool.cell_pool(1, 1000, str(tmp_path)) as workers, late:
        any(workers.wait(0.1) for _ in range(100))


def test_a_worker_that_cannot_start_keeps_no_cell_from_another(whole, session, tmp_path):
    cells = read_results(whole[0]).cells[:2]
    played = []
    with pool.cell_pool(2, int(ray.cluster_resources()["CPU"]), str(tmp_path)) as workers:  # room for one
        while len(played) < len(cells):
            if workers.idle:
                workers.play(cells[len(played)], str(tmp_path / cells[len(played)].id))
            played += workers.wait(0.1)
    assert [(cell.id, end.failed) for cell, end in played] == [(cell.id, None) for cell in cells]


def test_a_damaged_summary_is_a_failed_cell(whole, tmp_path):
    folder, _ = whole
    results = read_results(folder)
    path = results.folder(results.cells[0]) / "summary.json"
    content, stat = path.read_bytes(), path.stat()
    path.write_bytes(content[:100])
    try:
        row = cells_frame(results).iloc[0]
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert row["status"] == "failed"
    assert "damaged" in row["reason"]


def test_a_benchmark_that_is_interrupted_and_then_killed_goes_on_to_the_same_bits(whole, grid, tmp_path):
    folder = tmp_path / "disturbed"
    with ThreadPoolExecutor() as threads:
        interrupt = threads.submit(interrupt_at, folder, "cells/*/checkpoint/state-0001.json")
        stopped = bench_grid(QUIET, grid, out=folder, workers=1)
    interrupt.result()
    assert stopped.stopped
    assert stopped.finished < 4
    command = [*HAUBERK, "bench", str(grid), "--quiet", "--workers", "1", "--out", str(folder), "--resume"]
    n_finished = len(played_at(folder))
    killed = subprocess.Popen(command, start_new_session=True)
    wait_for(folder, "cells/*/summary.json", n=n_finished + 1)
    before = played_at(folder)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert bench_grid(QUIET, grid, out=folder, resume=True, workers=1).finished == 4
    assert before.items() <= played_at(folder).items()
    assert models(folder) == models(whole[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_fills_up_stops_all_resumable_and_says_so(whole, grid, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=52M", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    try:
        with pytest.raises(
            UserError, match="of disk are left, at least 50 are needed; --resume goes on"
        ) as stopped:
            bench_grid(QUIET, grid, out=disk / "out", workers=1)
        assert "\n" not in str(stopped.value)
        assert len(played_at(disk / "out")) < 4
        before = played_at(disk / "out")
        subprocess.run(["mount", "-o", "remount,size=200M", str(disk)], check=True)
        assert bench_grid(QUIET, grid, out=disk / "out", resume=True, workers=1).finished == 4
        assert before.items() <= played_at(disk / "out").items()
        assert models(disk / "out") == models(whole[0])
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_at_the_start_is_one_line(grid, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="out: cannot be written: Not a directory"):
        bench_grid(QUIET, grid, out=tmp_path / "file" / "out")


def test_a_grid_that_is_not_finished_and_has_damaged_records_is_reported(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "copy")
    results = read_results(folder)
    unfinished, damaged, cut, healthy = map(results.folder, results.cells)
    (unfinished / "summary.json").unlink()
    lines = (damaged / "rounds.jsonl").read_text().splitlines()
    (damaged / "rounds.jsonl").write_text(f"{lines[0][:99]}\n{lines[1]}\n")
    (cut / "rounds.jsonl").write_text(f"{lines[0]}\n{lines[1][:99]}")
    page, markdown = report_benchmark(folder)
    assert "The grid is not finished" in page.read_text()
    assert "not run yet" in page.read_text()
    assert "rounds.jsonl line 1: damaged" in page.read_text()
    assert "of 4 cells 3 finished, 1 missing" in markdown.read_text()
    counts = rounds_frame(read_results(folder)).groupby("cell").size()
    assert [counts.get(one.name, 0) for one in (unfinished, damaged, cut, healthy)] == [4, 0, 1, 4]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"name": "x", "cells": [{"id": "a"}]}', '{"cells": 3}', "\x00"]
)
def test_a_damaged_list_of_cells_is_one_line(tmp_path, content):
    (tmp_path / "grid.json").write_text(content)
    with pytest.raises(UserError, match=r"grid\.json: damaged: ") as error:
        read_results(tmp_path)
    assert "\n" not in str(error.value)


def test_exit_codes_say_what_a_benchmark_came_to():
    outcomes = (Outcome(4, 0), Outcome(3, 1), Outcome(1, 0, stopped=True))
    assert [show_outcome(QUIET, outcome) for outcome in outcomes] == [0, 4, 130]


def interrupt_at(folder, pattern):
    wait_for(folder, pattern)
    os.kill(os.getpid(), signal.SIGINT)


def wait_for(folder, pattern, n=1):
    end = time.monotonic() + 150
    while len(list(folder.glob(pattern))) < n:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_report_names_the_versions_that_the_cells_were_played_with(whole, tmp_path):
    folder = shutil.copytree(whole[0], tmp_path / "played")
    path = next(folder.glob("cells/*/summary.json"))
    summary = json.loads(path.read_text())
    here, summary["versions"]["torch"] = summary["versions"]["torch"], "0.0"
    path.write_text(json.dumps(summary))
    assert versions_of(read_results(folder))["torch"] == f"0.0 and {here}"
