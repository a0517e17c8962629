"""Kills parts of a benchmark at random moments: whether it goes on to the same bits, and plays nothing twice.

    python benchmarks/bench_kills.py --kills 10                # the driver, a worker, Ray's raylet, its GCS, in turn
    python benchmarks/bench_kills.py --nodes --kills 3         # a grid on two Ray nodes, of which one is killed

Plays a grid of twelve cells undisturbed, and then once for each kill (`kill -9`), which comes at a random moment after the
first cell has begun. What does not go on by itself is resumed. Ends with exit code 1 unless, each time, every cell has
the model of the undisturbed grid and no cell that was finished was played again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import tomli_w

from hauberk.experiments.bench.results import read_results

HAUBERK = [sys.executable, "-c", "from hauberk.experiments.cli import main; main()"]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
PARTS = ("driver", "worker", "raylet", "gcs_server")
PORTS = ("ray-client-server-port", "dashboard-agent-listen-port", "metrics-export-port")
POLL_S = 0.05
LATEST = 0.8  # of the undisturbed benchmark's time, so that the moment comes before the end
PATIENCE_S = 300.0  # after which a benchmark that was hit counts as hanging


@dataclass
class Hit:
    """What one kill did.

    Attributes:
        what: was killed.
        after_s: since the first cell began.
        finished: cells at that moment.
        went_on: whether the benchmark came to its end by itself.
        said: its last line, where it did not.
        seconds: until the benchmark had ended.
        again: finished cells that were played again.
        other: cells whose model is not that of the undisturbed grid.
    """

    what: str
    after_s: float
    finished: int
    went_on: bool = False
    said: str = ""
    seconds: float = 0.0
    again: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether nothing was played twice and all bits are the same."""
        return not self.again and not self.other

    def __str__(self) -> str:
        """Returns a row of the table."""
        did = "went on" if self.went_on else f"ended {self.seconds:.0f} s later ({self.said}) and was resumed"
        right = "yes" if self.right else f"NO: played again {self.again}, other models {self.other}"
        return f"| {self.what} | {self.after_s:.1f} | {self.finished} | {did} | {right} |"


def write_grid(path: Path, given: argparse.Namespace) -> Path:
    """Writes a grid of twelve cells on real tweets: three rules, with and without a liar, two seeds."""
    small = {"name": "text_cnn", "embedding_dim": 16, "n_filters": 8}
    tables: dict[str, Any] = {
        "name": "kills",
        "task": {"dataset": "tweet_sentiment", "model": small, "n_train": given.texts},
        "federation": {"n_clients": 10, "n_malicious": 1, "rounds": given.rounds},
        "attack": {"poison": {"name": "bad_word", "target": 1}},
        "aggregator": {"name": "fedavg"},
        "grid": {"aggregator.name": ["fedavg", "median", "dim_krum"], "seed": [0, 1]},
    }
    path.write_text(tomli_w.dumps(tables))
    return path


def bench(grid: Path, out: Path, *more: str) -> psutil.Popen:
    """Starts `hauberk bench` with two workers; what it writes comes to a file beside its folder."""
    command = [*HAUBERK, "bench", str(grid), "--out", str(out), "--workers", "2", *more]
    with out.with_suffix(".log").open("a") as written:
        return psutil.Popen(command, stdout=written, stderr=subprocess.STDOUT, start_new_session=True)


def models(out: Path) -> dict[str, str]:
    """Returns the hash of each finished cell's model."""
    found = {}
    for path in out.glob("cells/*/summary.json"):
        with contextlib.suppress(ValueError):  # it is being written
            found[path.parent.name] = json.loads(path.read_text())["model_sha256"]
    return found


def played_at(out: Path) -> dict[str, int]:
    """Returns when each finished cell was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("cells/*/summary.json")}


def below(process: psutil.Process, name: str) -> list[psutil.Process]:
    """Returns the processes below a benchmark's driver that are the part ``name`` of it."""
    if name == "driver":
        return [process]
    found = []
    # Of Ray's own processes the driver's children: the raylet's have its name for a moment, too.
    for child in process.children(recursive=name == "worker"):
        with contextlib.suppress(psutil.Error):
            worker = any(word.startswith("ray::CellWorker") for word in child.cmdline())
            if worker if name == "worker" else child.name() == name:
                found.append(child)
    return found


def strike(
    process: psutil.Popen, out: Path, what: str, after_s: float, kill: Callable[[], object]
) -> tuple[Hit, dict[str, int]]:
    """Kills some time after the first cell has begun; returns what happened and the cells that were finished then."""
    wait_until(lambda: process.poll() is not None or list(out.glob("cells/*/spec.toml")))
    time.sleep(after_s)
    finished = played_at(out)
    kill()
    hit, started = Hit(what, after_s, len(finished)), time.monotonic()
    wait_until(lambda: process.poll() is not None)
    hit.seconds = time.monotonic() - started
    hit.went_on = process.returncode == 0
    lines = out.with_suffix(".log").read_text().strip().splitlines()
    hit.said = "" if hit.went_on else f"exit code {process.returncode}, {lines[-1] if lines else 'no word'}"
    return hit, finished


def judge(hit: Hit, grid: Path, out: Path, finished: dict[str, int], whole: dict[str, str]) -> Hit:
    """Resumes what did not go on, and compares it with the undisturbed grid."""
    if not hit.went_on:
        process = bench(grid, out, "--resume")
        wait_until(lambda: process.poll() is not None)
    now, there = played_at(out), models(out)
    hit.again = [cell for cell, at in finished.items() if now.get(cell) != at]
    hit.other = [cell for cell, model in whole.items() if there.get(cell) != model]
    return hit


def wait_until(done: Callable[[], object]) -> None:
    """Waits; raises TimeoutError after PATIENCE_S of waiting, in which time that the machine stood still does not count."""
    for _ in range(int(PATIENCE_S / POLL_S)):
        if done():
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"the benchmark did not end within {PATIENCE_S:.0f} s")


@contextlib.contextmanager
def two_nodes(folder: Path) -> Iterator[Cluster]:
    """Yields two Ray nodes of one core each, as `ray start` makes them, and ends them by their processes."""
    cluster = Cluster(folder, free_port())
    try:
        cluster.head = cluster.start("--head", "--port", str(cluster.port), "--temp-dir", str(folder))
        wait_until(cluster.listens)
        cluster.second = cluster.start("--address", cluster.address)
        yield cluster
    finally:
        for one in (cluster.second, cluster.head):
            if one is not None:
                end(one)


@dataclass
class Cluster:
    """Two Ray nodes on this machine, of which the second one dies and comes back."""

    folder: Path
    port: int
    head: psutil.Popen | None = None
    second: psutil.Popen | None = None

    @property
    def address(self) -> str:
        """Where the head listens."""
        return f"127.0.0.1:{self.port}"

    def start(self, *options: str) -> psutil.Popen:
        """Starts a node of one core."""
        ports = [f"--{name}={free_port()}" for name in PORTS]
        command = [*RAY, "start", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=1", *ports, *options]
        with (self.folder / "nodes.log").open("a") as written:
            return psutil.Popen(command, stdout=written, stderr=subprocess.STDOUT, start_new_session=True)

    def listens(self) -> bool:
        """Whether the head takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def lose(self) -> None:
        """Kills the second node with all that runs on it."""
        assert self.second is not None
        end(self.second)

    def mend(self) -> None:
        """Starts the second node again."""
        self.second = self.start("--address", self.address)


def end(process: psutil.Process) -> None:
    """Kills a process with all that it started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in (*process.children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kill_parts(given: argparse.Namespace, grid: Path, folder: Path) -> Iterator[Hit]:
    """Plays the grid undisturbed and once for each kill of a part of it."""
    whole, lasts = undisturbed(grid, folder / "undisturbed")
    draw = random.Random(given.seed)
    for number in range(given.kills):
        what, out = given.what[number % len(given.what)], folder / str(number)
        process = bench(grid, out)

        def kill(process: psutil.Popen = process, what: str = what) -> None:
            wait_until(lambda: process.poll() is not None or below(process, what))
            if process.poll() is None:  # else it was faster
                draw.choice(below(process, what)).send_signal(signal.SIGKILL)

        hit, finished = strike(process, out, what, draw.uniform(0, LATEST * lasts), kill)
        yield judge(hit, grid, out, finished, whole)
        shutil.rmtree(out)


def kill_nodes(given: argparse.Namespace, grid: Path, folder: Path) -> Iterator[Hit]:
    """The same on two Ray nodes, of which the second one is killed."""
    draw = random.Random(given.seed)
    with two_nodes(folder) as cluster:
        whole, lasts = undisturbed(grid, folder / "undisturbed", "--address", cluster.address)
        for number in range(given.kills):
            out = folder / str(number)
            process = bench(grid, out, "--address", cluster.address)
            hit, finished = strike(process, out, "node", draw.uniform(0, LATEST * lasts), cluster.lose)
            yield judge(hit, grid, out, finished, whole)
            shutil.rmtree(out)
            cluster.mend()


def undisturbed(grid: Path, out: Path, *more: str) -> tuple[dict[str, str], float]:
    """Returns each cell's model, and the seconds from the first cell's begin to the end."""
    process = bench(grid, out, *more)
    wait_until(lambda: list(out.glob("cells/*/spec.toml")))
    started = time.monotonic()
    wait_until(lambda: process.poll() is not None)
    whole = models(out)
    assert len(whole) == len(read_results(out).cells), out.with_suffix(".log").read_text()
    return whole, time.monotonic() - started


def main() -> None:
    """Prints a line for each kill."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--what", nargs="+", choices=PARTS, default=PARTS, help="is killed, in turn")
    parser.add_argument("--nodes", action="store_true", help="kill one of two Ray nodes, and no part of one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=1000, help="of all clients together")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    print("| killed | s after the first cell began | finished then | what the benchmark did | right |")
    print("|---|---|---|---|---|")
    right = []
    with tempfile.TemporaryDirectory(prefix="kills") as name:
        folder = Path(name)
        grid = write_grid(folder / "grid.toml", given)
        try:
            for hit in (kill_nodes if given.nodes else kill_parts)(given, grid, folder):
                print(hit, flush=True)
                right.append(hit.right)
        finally:
            for child in psutil.Process().children():
                end(child)
    print(f"right: {sum(right)} of {len(right)}")
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
