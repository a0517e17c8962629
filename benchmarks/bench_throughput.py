"""What `hauberk bench` saves and costs: cells per hour, a cell's fixed cost, and the driver's memory over many cells.

    python benchmarks/bench_throughput.py --out runs/throughput                  # two minutes
    python benchmarks/bench_throughput.py --out runs/throughput --many 500       # the driver's memory over 500 cells

Cells per hour are told as a ratio: the same cells by `hauberk bench` with two workers, and by `hauberk run` one after
another with its own two, in one run of this script. Each is timed from the shell, starts included. The fixed cost of a cell is
its wall time on a warm worker without its rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil
import tomli_w
from rich.console import Console

from hauberk.experiments.bench.command import bench_grid
from hauberk.experiments.bench.grid_file import read_grid
from hauberk.experiments.bench.results import read_results
from hauberk.experiments.bench.workers import CellWorker
from hauberk.experiments.runner.records import read_rounds

HAUBERK = [sys.executable, "-c", "from hauberk.experiments.cli import main; main()"]


def small_grid(path: Path, n_seeds: int, rounds: int) -> Path:
    """Writes a grid of 4 cells a seed on real tweets: two rules, against nobody and against one attack."""
    tables: dict[str, Any] = {
        "name": "throughput",
        "task": {"dataset": "tweet_sentiment", "model": {"name": "text_cnn"}, "n_train": 4000},
        "federation": {"n_clients": 10, "n_malicious": 1, "rounds": rounds},
        "attack": {"poison": {"name": "bad_word", "target": 1}},
        "aggregator": {"name": "fedavg"},
        "grid": {"aggregator.name": ["fedavg", "dim_krum"], "seed": list(range(n_seeds))},
    }
    path.write_text(tomli_w.dumps(tables))
    return path


def tiny_grid(path: Path, n_cells: int) -> Path:
    """Writes a grid of ``n_cells`` cells that take next to no time, on twenty texts."""
    for name in ("train", "test"):
        lines = [json.dumps({"text": f"a {name} text number {i}", "label": i % 2}) for i in range(20)]
        (path.parent / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    files = {name: str(path.parent / f"{name}.jsonl") for name in ("train", "test")}
    tables: dict[str, Any] = {
        "name": "tiny",
        "task": {
            "dataset": {"name": "files", **files},
            "model": {"name": "text_cnn", "embedding_dim": 2, "n_filters": 2},
        },
        "federation": {"n_clients": 2, "rounds": 1},
        "aggregator": {"name": "fedavg"},
        "grid": {"seed": list(range(n_cells))},
    }
    path.write_text(tomli_w.dumps(tables))
    return path


def by_bench(grid: Path, out: Path) -> float:
    """Returns the seconds of the whole grid by `hauberk bench`."""
    return _timed([*HAUBERK, "bench", str(grid), "--quiet", "--workers", "2", "--out", str(out)])


def by_runs(grid: Path, out: Path) -> float:
    """Returns the seconds of the same cells by `hauberk run`, one after another."""
    out.mkdir()
    total = 0.0
    for number, cell in enumerate(read_grid(grid).cells()):
        spec = out / f"{number}.toml"
        spec.write_text(tomli_w.dumps({**cell.tables, "engine": {"name": "ray", "workers": 2}}))
        total += _timed([*HAUBERK, "run", str(spec), "--quiet", "--out", str(out / f"run-{number}")])
    return total


def fixed_costs(grid: Path, out: Path) -> dict[str, list[float]]:
    """Returns by attack the seconds beside its rounds of each cell on one worker.

    The first cell, which warms the worker, is left out. A cell with an attack also measures, once, how its trigger hides,
    what a part of it does and how the model answers beside its twin: passes over the test split, which are no overhead.
    """
    out.mkdir()
    worker = CellWorker(threads=1)
    worker.ready(str(out), os.getcwd())
    found: dict[str, list[float]] = {}
    for number, cell in enumerate(read_grid(grid).cells()):
        folder = out / str(number)
        played = worker.play(cell.tables, str(folder))
        assert played.failed is None, played.failed
        if number:
            beside = played.seconds - sum(line["wall"] for line in read_rounds(folder))
            found.setdefault(cell.values["attack"], []).append(beside)
    return found


def driver_memory(grid: Path, out: Path) -> list[tuple[int, float]]:
    """Returns the driver's resident MB against the number of finished cells, sampled each second."""
    samples: list[tuple[int, float]] = []
    done = threading.Event()
    process = psutil.Process()

    def sample() -> None:
        while not done.wait(1):
            n_finished = sum(1 for _ in out.glob("cells/*/summary.json"))
            samples.append((n_finished, process.memory_info().rss / 1e6))

    watch = threading.Thread(target=sample)
    watch.start()
    outcome = bench_grid(Console(quiet=True), grid, out=out, workers=2)
    done.set()
    watch.join()
    assert outcome.finished == len(read_results(out).cells), outcome
    return samples


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/throughput"))
    parser.add_argument("--seeds", type=int, default=2, help="four cells each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--many", type=int, default=0, help="how many tiny cells the driver's memory is watched over"
    )
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
    if given.many:
        samples = driver_memory(tiny_grid(given.out / "tiny.toml", given.many), given.out / "many")
        for share in (0.1, 0.25, 0.5, 0.75, 0.95):
            n, rss = next(sample for sample in samples if sample[0] >= share * given.many)
            print(f"driver after {n} of {given.many} cells: {rss:.0f} MB")
        return
    grid = small_grid(given.out / "grid.toml", given.seeds, given.rounds)
    for attack, costs in fixed_costs(grid, given.out / "fixed").items():
        print(f"a warm cell beside its rounds, attack {attack}: median {statistics.median(costs):.2f} s, "
              f"most {max(costs):.2f} s", flush=True)  # fmt: skip
    n_cells = 4 * given.seeds
    bench, runs = by_bench(grid, given.out / "bench"), by_runs(grid, given.out / "runs")
    print(f"hauberk bench: {3600 * n_cells / bench:.0f} cells an hour ({bench:.0f} s for {n_cells})")
    print(f"hauberk run one after another: {3600 * n_cells / runs:.0f} cells an hour ({runs:.0f} s)")
    print(f"ratio {runs / bench:.2f}")


if __name__ == "__main__":
    main()
