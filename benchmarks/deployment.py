"""Seconds and bytes of a deployment's rounds on loopback, and where they go, beside the Ray engine's.

One server and four clients on this machine, one malicious, TLS, node keys and the proxy between them. ``--executor flower``
plays the same with Flower's own executor and its own pause between two questions for work, a program for each task:

    python benchmarks/deployment.py [--model text_cnn|minilm-l6] [--rounds 4] [--executor resident|flower|ray]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from hauberk.experiments import run
from hauberk.experiments.deploy import pace, processes
from hauberk.experiments.deploy.control import control_of
from hauberk.experiments.deploy.folder import SECRET, Folder, Part
from hauberk.experiments.deploy.follow import deploy_run
from hauberk.experiments.deploy.members import Plan, init
from hauberk.experiments.deploy.operate import down, up
from hauberk.experiments.runner.records import read_rounds
from hauberk.experiments.spec.loader import parse

MODELS: dict[str, dict[str, Any]] = {
    "text_cnn": {"model": {"name": "text_cnn"}},
    "minilm-l6": {"model": {"name": "pretrained", "path": "embedded:minilm-l6"}, "n_train": 400},
}


def tables(model: str, rounds: int) -> dict[str, Any]:
    """Returns the experiment."""
    return {
        "name": f"deployment-{model}",
        "task": {"dataset": {"name": "tweet_sentiment"}, **MODELS[model]},
        "federation": {"n_clients": 4, "n_malicious": 1, "rounds": rounds},
        "attack": {"poison": {"name": "bad_word", "target": 1}},
        "aggregator": {"name": "median"},
        "server": {"twin": False, "evaluate_every": rounds},
        "engine": {"node_wait_s": 120, "round_timeout_s": 900},
    }


def flowers_executor(part: Part) -> processes.Process:
    """Returns Flower's own executor in place of the resident one."""

    def main() -> None:
        (part.path / processes.RUN / "executor.ready").write_text("ready\n")
        address = f"127.0.0.1:{part.about.local_port}"
        command = ["flower-superexec", "--runtime-api-address", address, "--insecure"]
        # A child: this process holds the lock by which it is known to run.
        subprocess.run([*command, "--superexec-auth-secret-file", str(part.path / SECRET)], check=True)

    return processes.Process(part, "executor", main)


def deployed(spec: Any, folder: Path) -> tuple[list[dict[str, Any]], float, tuple[int, int]]:
    """Returns the rounds' records, the seconds from ``up`` to the first of them, and the bytes out and in."""
    made = init(Plan(spec=spec, hosts=("127.0.0.1",), dealt=True), folder)
    started, quiet = time.time(), Console(quiet=True)
    assert up(quiet, made) == 0
    try:
        assert deploy_run(quiet, made) == 0
        with control_of(made.server) as control:
            last = list(control.runs().values())[-1]
        (records,) = (made.server.path / "runs").glob("*/rounds.jsonl")
        rounds = read_rounds(records.parent)
        first = started_to_first(made, started)
        return rounds, first, (last.bytes_sent, last.bytes_recv)
    finally:
        down(quiet, made)


def started_to_first(made: Folder, started: float) -> float:
    """Returns the seconds from a moment to the first round's record: the run's beginning and the round's own time."""
    (folder,) = (made.server.path / "runs").iterdir()
    rounds = read_rounds(folder)
    ended = (folder / "rounds.jsonl").stat().st_mtime
    return ended - sum(line["wall"] for line in rounds[1:]) - started


def main() -> None:
    """Plays and prints one row of a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=MODELS, default="text_cnn")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--executor", choices=("resident", "flower", "ray"), default="resident")
    asked = parser.parse_args()
    if asked.executor == "flower":
        processes._client_executor = flowers_executor
        pace.quicken = lambda: None
    spec = parse(tables(asked.model, asked.rounds))
    with tempfile.TemporaryDirectory() as folder:
        if asked.executor == "ray":
            started = time.time()
            result = run(spec, out=Path(folder) / "run")
            rounds = read_rounds(result.folder)
            ended = (result.folder / "rounds.jsonl").stat().st_mtime
            first, moved = ended - sum(line["wall"] for line in rounds[1:]) - started, (0, 0)
        else:
            rounds, first, moved = deployed(spec, Path(folder) / "trial")
    later = rounds[1:]
    stages = {
        name: statistics.median(line["seconds"].get(name, 0) for line in later)
        for name in rounds[0]["seconds"]
    }
    training = statistics.median(max(c.get("seconds", 0) for c in line["clients"].values()) for line in later)
    wall = statistics.median(line["wall"] for line in later)
    print(
        f"| {asked.model} | {asked.executor} | {first:.1f} | {wall:.2f} | {stages} | {training:.2f} | {moved} |"
    )


if __name__ == "__main__":
    main()
