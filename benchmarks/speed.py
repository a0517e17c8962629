"""Hauberk against the same job as a plain Flower app: whole runs, from the shell to the exit, one after the other.

    python benchmarks/speed.py --train sst2/train.jsonl --test sst2/test.jsonl

Prints each run's seconds, their ratio pair by pair, and where Hauberk's time goes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
STAGES = ("clients", "guard", "aggregate", "evaluate")


def seconds_of(command: list[str]) -> float:
    """Returns how long a command takes from its start to its exit."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def hauberk(given: argparse.Namespace, out: Path) -> list[str]:
    """Returns the command of our run: no attack, FedAvg, no validation part, as the peer."""
    spec = out.with_suffix(".toml")
    spec.write_text(
        f"""
name = "speed"
[task]
dataset = {{ name = "files", train = "{given.train}", test = "{given.test}" }}
model = {{ name = "text_cnn" }}
validation = 0.0
[federation]
n_clients = {given.clients}
rounds = {given.rounds}
[aggregator]
name = "fedavg"
"""
    )
    binary = Path(sys.executable).with_name("hauberk")
    return [str(binary), "run", str(spec), "--out", str(out), "--quiet"]


def plain(given: argparse.Namespace) -> list[str]:
    """Returns the command of the plain Flower app."""
    script = str(HERE / "plain_flower.py")
    sizes = ["--rounds", str(given.rounds), "--clients", str(given.clients)]
    return [sys.executable, script, "--train", given.train, "--test", given.test, *sizes]


def where_it_goes(out: Path, whole: float) -> str:
    """Returns our seconds by stage, and what is outside the rounds."""
    lines = [json.loads(line) for line in (out / "rounds.jsonl").open()]
    walls = [line["wall"] for line in lines]
    stages = {stage: sum(line["seconds"][stage] for line in lines) for stage in STAGES}
    parts = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
    return (
        f"  first round {walls[0]:.1f} s, later ones {statistics.mean(walls[1:] or walls):.2f} s each; "
        f"in the rounds: {parts}; outside them {whole - sum(walls):.1f} s"
    )


def main() -> None:
    """Runs the pairs and prints what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=3)
    given = parser.parse_args()
    ratios = []
    for pair in range(given.pairs):
        folder = Path(tempfile.mkdtemp())
        ours = seconds_of(hauberk(given, folder / "run"))
        theirs = seconds_of(plain(given))
        ratios.append(theirs / ours)
        print(f"pair {pair + 1}: hauberk {ours:.1f} s, plain Flower {theirs:.1f} s, ratio {ratios[-1]:.2f}")
        print(where_it_goes(folder / "run", ours), flush=True)
        shutil.rmtree(folder)
    print(f"ratio: median {statistics.median(ratios):.2f}, min {min(ratios):.2f}, max {max(ratios):.2f}")


if __name__ == "__main__":
    main()
