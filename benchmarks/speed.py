"""Hauberk against the same job as a plain Flower app: whole runs, from the shell to the exit, one after the other.

    python benchmarks/speed.py --train sst2/train.jsonl --test sst2/test.jsonl
    python benchmarks/speed.py --train sst2/train.jsonl --test sst2/test.jsonl --model minilm-l6 --texts 320 --rounds 3

Prints each run's seconds and those of a round after the first, their ratios pair by pair, and where Hauberk's time goes.
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
MODELS = {
    "text_cnn": 'name = "text_cnn"',
    "minilm-l6": 'name = "pretrained", path = "embedded:minilm-l6"',
}


def seconds_of(command: list[str]) -> tuple[float, str]:
    """Returns how long a command takes from its start to its exit, and what it printed."""
    started = time.perf_counter()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - started, output


def hauberk(given: argparse.Namespace, out: Path) -> list[str]:
    """Returns the command of our run: no attack, FedAvg, no validation part, as the peer."""
    spec = out.with_suffix(".toml")
    spec.write_text(
        f"""
name = "speed"
[task]
dataset = {{ name = "files", train = "{given.train}", test = "{given.test}" }}
model = {{ {MODELS[given.model]} }}
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
    sizes = ["--rounds", str(given.rounds), "--clients", str(given.clients), "--model", given.model]
    return [sys.executable, script, "--train", given.train, "--test", given.test, *sizes]


def where_it_goes(out: Path, whole: float) -> tuple[float, str]:
    """Returns our seconds of a later round, and a line that has them by stage and what is outside the rounds."""
    lines = [json.loads(line) for line in (out / "rounds.jsonl").open()]
    walls = [line["wall"] for line in lines]
    stages = {stage: sum(line["seconds"].get(stage, 0.0) for line in lines) for stage in lines[-1]["seconds"]}
    parts = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
    later = statistics.mean(walls[1:] or walls)
    return later, (
        f"  first round {walls[0]:.1f} s, later ones {later:.2f} s each; "
        f"in the rounds: {parts}; outside them {whole - sum(walls):.1f} s"
    )


def later_round(output: str) -> float:
    """Returns the plain app's seconds of a round after the first, from the times at which it had tested its model."""
    ends = [json.loads(line)["at"] for line in output.splitlines() if line.startswith('{"round"')]
    return (ends[-1] - ends[1]) / (len(ends) - 2)  # the first line is the untrained model


def first_lines(path: str, number: int | None, folder: Path) -> str:
    """Returns a file with the first ``number`` lines of another; all of them where it is None."""
    if number is None:
        return path
    part = folder / Path(path).name
    part.write_text("".join(Path(path).read_text().splitlines(keepends=True)[:number]))
    return str(part)


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
    parser.add_argument("--model", choices=MODELS, default="text_cnn")
    parser.add_argument("--texts", type=int, help="of each split; by default all of them")
    given = parser.parse_args()
    part = Path(tempfile.mkdtemp())
    given.train, given.test = (first_lines(path, given.texts, part) for path in (given.train, given.test))
    ratios, by_round = [], []
    for pair in range(given.pairs):
        folder = Path(tempfile.mkdtemp())
        ours, _ = seconds_of(hauberk(given, folder / "run"))
        theirs, output = seconds_of(plain(given))
        our_round, line = where_it_goes(folder / "run", ours)
        ratios.append(theirs / ours)
        by_round.append(later_round(output) / our_round)
        print(
            f"pair {pair + 1}: hauberk {ours:.1f} s, plain Flower {theirs:.1f} s, ratio {ratios[-1]:.2f}; "
            f"a round {our_round:.2f} s and {later_round(output):.2f} s, ratio {by_round[-1]:.2f}"
        )
        print(line, flush=True)
        shutil.rmtree(folder)
    for name, found in (("whole runs", ratios), ("a round", by_round)):
        print(
            f"{name}: ratio median {statistics.median(found):.2f}, min {min(found):.2f}, max {max(found):.2f}"
        )


if __name__ == "__main__":
    main()
